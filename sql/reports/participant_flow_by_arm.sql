-- The participant flow from enrolment on, apart for each arm; empty where there is one arm.
-- grain: one row per arm, kind, stage, reason
-- unit: n in participants
-- null: reason is null except where kind is left
-- column position: Order on the page
-- column arm: Planned treatment
-- column kind: stage (those who reached it), left (those who went no further than it), or analysis set
-- column stage: Stage, or name of the analysis set
-- column reason: Why those counted went no further
-- column n: Number of participants
with
enrolled as (
    select *, dense_rank() over (order by arm_position, arm) as arm_place
    from reports.participant_fate
    where is_enrolled and arm is not null
    qualify count(distinct arm) over () > 1
),

counted as (
    select
        arm_place,
        arm,
        count(*) as "Enrolled",
        count(*) filter (where is_treated) as "Treated",
        count(*) filter (where is_completed) as "Completed",
        count(*) filter (where is_treated) as "Safety set",
        count(*) filter (where is_in_full_analysis_set) as "Full analysis set",
        count(*) filter (where is_in_intention_to_treat_set) as "Intention-to-treat set",
        count(*) filter (where is_in_efficacy_set) as "Efficacy set",
        count(*) filter (where is_in_per_protocol_set) as "Per-protocol set",
        count(*) filter (where is_biomarker_evaluable) as "Biomarker-evaluable set"
    from enrolled
    group by arm_place, arm
),

stage as (
    select
        arm_place,
        arm,
        list_position(['Enrolled', 'Treated', 'Completed'], stage) as stage_place,
        coalesce(stage_place, 4) as place,
        case when stage_place is null then 'analysis set' else 'stage' end as kind,
        stage,
        n,
        row_number() over (partition by arm_place) as set_place
    from counted
    unpivot (n for stage in (columns(* exclude (arm_place, arm))))
),

lost as (
    select
        arm_place,
        arm,
        case stage_left when 'Enrolled' then 1 else 2 end as place,
        'left' as kind,
        stage_left as stage,
        reason,
        count(*) as n
    from enrolled
    where stage_left is not null
    group by all
)

select
    row_number() over (order by arm_place, place, kind desc, set_place, n desc, reason) as position,
    arm,
    kind,
    stage,
    reason,
    n
from (
    select arm_place, arm, place, kind, set_place, stage, null::varchar as reason, n
    from stage
    -- A study without samples has no such set.
    where stage != 'Biomarker-evaluable set' or (select bool_or(is_biomarker_evaluable) from enrolled)
    union all
    select arm_place, arm, place, kind, 0, stage, reason, n
    from lost
)
