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
counted as (
    select
        count(*) as n_screened,
        count(*) filter (where is_enrolled) as n_enrolled,
        count(*) filter (where is_treated) as n_treated,
        count(*) filter (where is_completed) as n_completed,
        count(*) filter (where is_in_full_analysis_set) as n_full_analysis,
        count(*) filter (where is_in_intention_to_treat_set) as n_intention_to_treat,
        count(*) filter (where is_in_efficacy_set) as n_efficacy,
        count(*) filter (where is_in_per_protocol_set) as n_per_protocol,
        count(*) filter (where is_biomarker_evaluable) as n_biomarker_evaluable
    from reports.participant_fate
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
    select 6, 'analysis set', 'Full analysis set', n_full_analysis
    from counted
    union all
    select 7, 'analysis set', 'Intention-to-treat set', n_intention_to_treat
    from counted
    union all
    select 8, 'analysis set', 'Efficacy set', n_efficacy
    from counted
    union all
    select 9, 'analysis set', 'Per-protocol set', n_per_protocol
    from counted
    union all
    -- A study without samples has no such set.
    select 10, 'analysis set', 'Biomarker-evaluable set', n_biomarker_evaluable
    from counted
    where n_biomarker_evaluable > 0
),

lost as (
    select
        case stage_left when 'Screened' then 1 when 'Enrolled' then 2 else 3 end as place,
        'left' as kind,
        stage_left as stage,
        reason,
        count(*) as n
    from reports.participant_fate
    where stage_left is not null
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
