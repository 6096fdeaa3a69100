-- Every estimate of the change at the primary visit with its interval.
-- grain: one row per paramcd, avisit, variable, statistic
-- unit: estimate, standard_error, ci_low and ci_high in unit; ci_level as a fraction
-- null: estimate is null where it cannot be made, and warning says why; standard_error and the interval are null where the method gives none
-- column position: Order on the page
-- column variable: The ADaM variable estimated; positive is higher after
select
    row_number() over (
        order by paramcd asc, avisit asc, variable asc, statistic asc
    ) as position,
    paramcd,
    param,
    avisit,
    variable,
    unit,
    statistic,
    statistic_label,
    n,
    estimate,
    standard_error,
    ci_level,
    ci_low,
    ci_high,
    method,
    warning
from results.primary_endpoint
where kind = 'estimate'
