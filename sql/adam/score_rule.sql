-- How each score that is computed from items is computed: its statistic and its rule for missing items. A rule of
-- staging.score_rule takes the place of the house's rule of the same paramcd. Sources: DLQI: Finlay AY, Khan
-- GK, Clin Exp Dermatol 1994;19:210-216, and the instructions for use of Cardiff University; Skindex-16: Chren
-- MM et al., J Cutan Med Surg 2001;5:105-110; numerical ratings: a weekly mean needs four of seven days, as usual
-- for daily diaries (Yosipovitch G et al., Itch 2019;4:e36); IGA: Guidance for Industry on acne, Food and Drug
-- Administration, 2018; CAILS: Olsen EA et al., J Clin Oncol 2011;29:2598-2607.
-- grain: one row per paramcd
-- unit: min_answered in items, or in days where span is window
-- null: missing_value is null where an unanswered item is left out; across_lesions where there is one lesion
-- optional: staging.score_rule (paramcd varchar, instrument varchar, param varchar, statistic varchar, span varchar,
--   min_answered integer, missing_value double, multiplier double, across_lesions varchar, rule varchar)
-- column paramcd: Score that the rule gives
-- column instrument: Instrument that the items belong to
-- column param: Score, in words
-- column statistic: value (rated as a whole, never computed), sum, mean, or prorated_sum (the sum of those answered,
--   raised by the part of the greatest possible sum that the missing items have)
-- column span: assessment: the items of one visit and day; window: all days in the window of an analysis visit
-- column min_answered: Fewest answered items (days) for which there is a score
-- column missing_value: Value of an unanswered item
-- column multiplier: Factor that brings the statistic to the scale of the score
-- column across_lesions: sum or mean over lesions (qsgrpid), each of them complete
-- column rule: The rule in words
with house (
    paramcd, instrument, param, statistic, span, min_answered, missing_value, multiplier, across_lesions, rule
) as (
    values
    (
        'DLQI', 'DLQI', 'Dermatology Life Quality Index, total', 'sum', 'assessment', 9, 0, 1, null,
        'Sum of ten items of 0 to 3; not relevant is 0; one unanswered item is 0, with two there is no score; item'
        || ' 7 is 3 for yes, else its second question'
    ),
    (
        'SKDX16SY', 'SKINDEX-16', 'Skindex-16 symptoms', 'mean', 'assessment', 3, null, 100 / 6e0, null,
        'Mean of items 1 to 4 of 0 to 6, as 0 to 100; none if more than a quarter of them is unanswered'
    ),
    (
        'SKDX16EM', 'SKINDEX-16', 'Skindex-16 emotions', 'mean', 'assessment', 6, null, 100 / 6e0, null,
        'Mean of items 5 to 11 of 0 to 6, as 0 to 100; none if more than a quarter of them is unanswered'
    ),
    (
        'SKDX16FN', 'SKINDEX-16', 'Skindex-16 functioning', 'mean', 'assessment', 4, null, 100 / 6e0, null,
        'Mean of items 12 to 16 of 0 to 6, as 0 to 100; none if more than a quarter of them is unanswered'
    ),
    (
        'ITCHNRSW', 'NRS', 'Worst itch, mean of the week', 'mean', 'window', 4, null, 1, null,
        'Mean of the daily ratings of 0 to 10 in the window of seven days; none with fewer than four days'
    ),
    (
        'PAINNRSW', 'NRS', 'Worst pain, mean of the week', 'mean', 'window', 4, null, 1, null,
        'Mean of the daily ratings of 0 to 10 in the window of seven days; none with fewer than four days'
    ),
    (
        'IGA', 'IGA', 'Investigator global assessment', 'value', 'assessment', 1, null, 1, null,
        'Rated 0 to 4; a missing rating stays missing'
    ),
    (
        'PGA', 'PGA', 'Physician global assessment', 'value', 'assessment', 1, null, 1, null,
        'Rated 0 to 5; a missing rating stays missing'
    ),
    (
        'MCAILS', 'CAILS', 'Modified CAILS, sum over lesions', 'sum', 'assessment', 4, null, 1, 'sum',
        'Sum of erythema, scaling, elevation and size of every index lesion; all items of all lesions are needed'
    ),
    (
        'MCAILSMN', 'CAILS', 'Modified CAILS, mean over lesions', 'sum', 'assessment', 4, null, 1, 'mean',
        'Mean over the index lesions of the sum of erythema, scaling, elevation and size; all are needed'
    )
)

select
    paramcd,
    instrument,
    param,
    statistic,
    span,
    min_answered::integer as min_answered,
    missing_value::double as missing_value,
    multiplier::double as multiplier,
    across_lesions,
    rule
from house
where paramcd not in (select own.paramcd from staging.score_rule as own)
union all
select
    paramcd,
    instrument,
    param,
    statistic,
    span,
    min_answered::integer,
    missing_value::double,
    multiplier::double,
    across_lesions,
    rule
from staging.score_rule
order by instrument, paramcd
