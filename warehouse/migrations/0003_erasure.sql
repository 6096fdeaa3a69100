-- A ledger of the participants that were erased, by salted hashes of their identifiers.
create table store.meta.erasure (
    run_id varchar,
    version bigint,
    erased_at timestamp,
    author varchar,
    reason varchar,
    "rows" bigint,
    files bigint,
    salt varchar,
    keys varchar,
    subject_keys varchar
);
