-- Visits that took place.
-- grain: one row per usubjid, visit
-- null: svstdy is null in people who were never treated; is_in_window for a visit that study.toml does not name
-- column visit: Visit, in the words of study.toml
-- column visitnum: Number of the visit; from 99.01 on for visits that study.toml does not name
-- column svstdy: Study day: 1 on the first day of treatment, -1 the day before
-- column is_in_window: The visit lies in the window of study.toml
with visited as (
    select
        'NLSIM-' || log.SUBJID as usubjid,
        upper(trim(log.VISIT)) as visit,
        log.VISITDAT as svstdtc,
        date_diff('day', try_cast(dm.rfstdtc as date), try_cast(log.VISITDAT as date))
        + (try_cast(log.VISITDAT as date) >= try_cast(dm.rfstdtc as date))::integer as svstdy,
        log._source_file,
        log._source_row
    from raw.visits as log
    left join sdtm.dm on 'NLSIM-' || log.SUBJID = dm.usubjid
    where log.STATUS is distinct from 'Not done'
)

select
    study.studyid,
    'SV' as domain,
    visited.usubjid,
    -- An unplanned visit has a number too, so that two of them stay apart.
    coalesce(
        planned.avisitn,
        99 + dense_rank() over (
            partition by visited.usubjid, planned.avisitn order by visited.svstdtc, visited.visit
        ) / 100
    ) as visitnum,
    visited.visit,
    visited.svstdtc,
    visited.svstdtc as svendtc,
    visited.svstdy,
    visited.svstdy between planned.window_start_day and planned.window_end_day as is_in_window,
    visited._source_file,
    visited._source_row
from visited
cross join meta.study as study
left join meta.visit as planned on visited.visit = planned.avisit
