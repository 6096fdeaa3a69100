-- The effect of each estimand under every scenario of its sensitivity analysis: the rows of a forest plot.
-- grain: one row per estimand, scenario, arm, context
-- unit: estimate and its interval in unit; n in participants
-- null: reference is null in a single arm; estimate and p_value are null where the scenario has none, and remark says why
-- column position: Order in which the scenarios stand, the estimand's own first
-- column scenario: Identifier of the scenario
-- column label: What the scenario does, in words
-- column arm: The arm tested, or compared with the reference
-- column context: Which computation gave the estimate
-- column is_primary: The estimand's own analysis
with
scenario as (
    select
        estimand,
        variable_level as scenario,
        group1_level as arm,
        group1_reference as reference,
        context,
        variable,
        min(position) as place,
        max(variable_label) as label,
        max(unit) as unit,
        max(stat) filter (where stat_name = 'N_obs') as n,
        max(stat) filter (where stat_name = 'estimate') as estimate,
        max(stat) filter (where stat_name = 'conf.low') as ci_low,
        max(stat) filter (where stat_name = 'conf.high') as ci_high,
        max(stat) filter (where stat_name = 'conf.level') as ci_level,
        max(stat) filter (where stat_name = 'p.value') as p_value,
        max(method) as method,
        max(coalesce(error, warning)) as remark
    from results.primary_endpoint_sensitivity
    -- The tipping point and the range of leaving one out have no estimate of their own.
    where variable_level is not null
    group by all
    having bool_or(stat_name = 'estimate')
)

select
    row_number() over (order by estimand, place) as position,
    estimand,
    scenario,
    arm,
    reference,
    context,
    variable,
    label,
    unit,
    estimate,
    ci_low,
    ci_high,
    ci_level,
    p_value,
    method,
    remark,
    n::bigint as n,
    scenario = 'primary' as is_primary
from scenario
