-- Order stages and deliveries by the version they published, and write down the shape of the lake.
-- Until here "newest" was told by clocks, which may go back or differ between machines.
alter table store.meta.run add column version bigint;
alter table store.meta.source_file add column version bigint;
alter table store.meta.source_file add column content varchar;

update store.meta.run set version = made.version
from (
    select
        snapshot_id as version,
        commit_extra_info ->> 'run_id' as run_id,
        commit_extra_info ->> 'stage' as stage
    from store.snapshots()
    where commit_extra_info is not null
) as made
where run.run_id = made.run_id and run.stage = made.stage;

update store.meta.source_file set version = run.version
from store.meta.run
where source_file.run_id = run.run_id and run.stage = 'ingest';

create table store.meta.format (
    format bigint, version bigint, change varchar, code_version varchar, duckdb_version varchar, changed_at timestamp
);
