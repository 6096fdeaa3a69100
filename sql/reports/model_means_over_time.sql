-- What the longitudinal model says of each visit: the mean of each arm, and its difference from the reference.
-- grain: one row per estimand, kind, arm, reference, avisit
-- unit: estimate and its interval in unit
-- null: reference is null for a mean; estimate is null where it cannot be made, and remark says why; p_value is null where nothing is tested
-- column position: Order of visits and arms
-- column kind: mean or difference
-- column arm: The arm, or the arm that the reference is taken from
-- column variable: The ADaM variable modelled
-- column estimate: Least-squares mean, or difference of two: the arm minus the reference
select
    row_number() over (order by estimand, min(position)) as position,
    estimand,
    case context when 'difference' then 'difference' else 'mean' end as kind,
    group1_level as arm,
    group1_reference as reference,
    group2_level as paramcd,
    group3_level as avisit,
    variable,
    max(unit) as unit,
    max(stat) filter (where stat_name = 'estimate') as estimate,
    max(stat) filter (where stat_name = 'std.error') as standard_error,
    max(stat) filter (where stat_name = 'conf.low') as ci_low,
    max(stat) filter (where stat_name = 'conf.high') as ci_high,
    max(stat) filter (where stat_name = 'conf.level') as ci_level,
    max(stat) filter (where stat_name = 'df') as df,
    max(stat) filter (where stat_name = 'p.value') as p_value,
    max(method) as method,
    max(coalesce(error, warning)) as remark
from results.score_over_time
where context in ('ls_means', 'difference')
group by estimand, context, group1_level, group1_reference, group2_level, group3_level, variable
