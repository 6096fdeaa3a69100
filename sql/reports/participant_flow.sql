-- How many participants reached each stage of the study, and for which reasons the others went no further.
-- grain: one row per kind, stage, reason
-- unit: n in participants
-- null: reason is null except where kind is left
-- column position: Order on the page
-- column kind: stage (those who reached it), left (those who went no further than it), or analysis set
-- column stage: Stage, or name of the analysis set
-- column reason: Why those counted went no further
-- column n: Number of participants
with
-- adam.adsl holds the enrolled; who is only in sdtm.dm was screened and not enrolled.
screened as (
    select
        dm.usubjid,
        adsl.usubjid is not null as is_enrolled,
        coalesce(adsl.saffl = 'Y', false) as is_treated,
        coalesce(adsl.fasfl = 'Y', false) as is_in_full_analysis_set,
        coalesce(adsl.eosstt = 'COMPLETED', false) as is_completed,
        case
            when adsl.usubjid is null
                then case upper(dm.armcd) when 'NOTASSGN' then 'Not assigned' else 'Screen failure' end
            when not is_treated then 'Never treated'
            when adsl.eosstt = 'ONGOING' then 'Still in the study'
            when not is_completed then coalesce(adsl.dcsreas, 'Reason not recorded')
        end as reason
    from sdtm.dm as dm
    left join adam.adsl as adsl on dm.usubjid = adsl.usubjid
),

counted as (
    select
        count(*) as n_screened,
        count(*) filter (where is_enrolled) as n_enrolled,
        count(*) filter (where is_treated) as n_treated,
        count(*) filter (where is_treated and is_completed) as n_completed,
        count(*) filter (where is_in_full_analysis_set) as n_full_analysis_set
    from screened
),

stage as (
    -- Not every study delivers its screening: with nobody lost there, enrolment is the first stage.
    select 1 as place, 'stage' as kind, 'Screened' as stage, n_screened as n
    from counted
    where n_screened > n_enrolled
    union all
    select 2, 'stage', 'Enrolled', n_enrolled
    from counted
    union all
    select 3, 'stage', 'Treated', n_treated
    from counted
    union all
    select 4, 'stage', 'Completed', n_completed
    from counted
    union all
    select 5, 'analysis set', 'Safety set', n_treated
    from counted
    union all
    select 6, 'analysis set', 'Full analysis set', n_full_analysis_set
    from counted
),

lost as (
    select
        case when not is_enrolled then 1 when not is_treated then 2 else 3 end as place,
        'left' as kind,
        case when not is_enrolled then 'Screened' when not is_treated then 'Enrolled' else 'Treated' end as stage,
        -- SDTM writes its decodes in capitals.
        upper(left(reason, 1)) || lower(substr(reason, 2)) as reason,
        count(*) as n
    from screened
    where reason is not null
    group by all
)

select
    row_number() over (order by place, kind desc, n desc, reason) as position,
    kind,
    stage,
    reason,
    n
from (
    select place, kind, stage, null::varchar as reason, n
    from stage
    union all
    select place, kind, stage, reason, n
    from lost
)
