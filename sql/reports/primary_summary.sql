-- The primary score in numbers: at baseline, at the primary visit, and its change.
-- grain: one row per paramcd, avisit, variable
-- unit: all statistics in unit; n in participants
-- null: sd is null for one participant
-- column position: Order on the page
-- column variable: The ADaM variable described: BASE, AVAL, CHG or PCHG
-- column sd: Standard deviation
-- column q1: First quartile
-- column q3: Third quartile
select
    row_number() over (
        order by paramcd, avisit, list_position(['BASE', 'AVAL', 'CHG', 'PCHG'], variable)
    ) as position,
    paramcd,
    param,
    avisit,
    variable,
    unit,
    max(n) as n,
    max(estimate) filter (where statistic = 'mean') as mean,
    max(estimate) filter (where statistic = 'sd') as sd,
    max(estimate) filter (where statistic = 'min') as min,
    max(estimate) filter (where statistic = 'q1') as q1,
    max(estimate) filter (where statistic = 'median') as median,
    max(estimate) filter (where statistic = 'q3') as q3,
    max(estimate) filter (where statistic = 'max') as max
from results.primary_endpoint
where kind = 'summary' and statistic in ('mean', 'sd', 'min', 'q1', 'median', 'q3', 'max')
group by paramcd, param, avisit, variable, unit
