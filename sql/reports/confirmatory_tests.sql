-- Every p-value that decides about an estimand of a family, raw and adjusted within the family.
-- grain: one row per position
-- unit: p_value and p_adjusted as probabilities
-- null: p_adjusted is null where the family is not adjusted; arm and reference are null for a test of all arms
-- column position: Order in which the analyses and their tests stand
-- column family: Tests that are adjusted together
-- column arm: The arm tested, or compared with the reference
-- column context: Which computation gave the p-value
-- column p_value: As the test gives it
-- column p_adjusted: Adjusted for the other tests of the family
-- column adjustment: How it is adjusted, and over how many tests
with
test as (
    select *
    from results.clinical_statistics
    where family is not null and stat_name = 'p.value'
),

adjusted as (
    select *
    from results.clinical_statistics
    where family is not null and stat_name = 'p.value.adjusted'
)

select
    row_number() over (order by test.family, test.analysis, test.position) as position,
    test.family,
    test.estimand,
    coalesce(estimand.title, test.estimand) as title,
    test.analysis,
    test.context,
    test.group1_level as arm,
    test.group1_reference as reference,
    test.variable,
    test.group2_level as paramcd,
    test.group3_level as avisit,
    test.stat as p_value,
    adjusted.stat as p_adjusted,
    adjusted.method as adjustment,
    test.method,
    test.warning
from test
left join adjusted
    on
        test.family = adjusted.family
        and test.estimand = adjusted.estimand
        and test.analysis = adjusted.analysis
        and test.context = adjusted.context
        and test.position = adjusted.position
left join meta.estimand as estimand on test.estimand = estimand.estimand
