-- Every test of the primary endpoint with all that its p-value depends on, the primary test first.
-- grain: one row per paramcd, avisit, variable, statistic
-- unit: p_value as the method gives it, not adjusted for the other tests
-- null: p_value is null where the test cannot be made, and warning says why; df is null for tests without degrees of freedom; zero_rule and tie_rule are null where no ranks are taken; n_resamples and seed are null where nothing is resampled; warning is null where there is nothing to warn of
-- column position: Order on the page
-- column variable: The ADaM variable tested
-- column n_zero: Differences that are zero
-- column is_exact: The p-value comes from the full distribution, not from an approximation
-- column is_primary: The one test that was declared primary
select
    row_number() over (
        order by is_primary desc, paramcd asc, avisit asc, variable asc, statistic asc
    ) as position,
    paramcd,
    param,
    avisit,
    variable,
    statistic,
    statistic_label,
    n,
    n_zero,
    test_statistic,
    df,
    p_value,
    method,
    alternative,
    is_exact,
    has_continuity_correction,
    zero_rule,
    tie_rule,
    n_resamples,
    seed,
    is_primary,
    warning
from results.primary_endpoint
where kind = 'test'
