-- Rules of the analysis plan for the scores of the CDISC pilot that are computed from others.
-- grain: one row per paramcd
-- unit: min_answered in items, or in days where span is window
-- null: missing_value is null, for an unanswered item is left out
-- column paramcd: Score that the rule gives
-- column instrument: Instrument that the items belong to
-- column param: Score, in words
-- column statistic: How the items are put together
-- column span: assessment: items of one visit and day; window: all days in the window of an analysis visit
-- column min_answered: Fewest answered items (days) for which there is a score
-- column missing_value: Value of an unanswered item
-- column multiplier: Factor that brings the statistic to the scale of the score
-- column across_lesions: There are no lesions
-- column rule: The rule in words
select
    paramcd,
    instrument,
    param,
    statistic,
    span,
    min_answered,
    null::double as missing_value,
    1.0::double as multiplier,
    null::varchar as across_lesions,
    rule
from (
    values
    (
        'ACTOT', 'ADAS-COG', 'ADAS-Cog(11) total', 'prorated_sum', 'assessment', 8,
        'Sum of items 1, 2, 4 to 8 and 11 to 14, of greatest value 70; refused items, at most three, are made up for'
        || ' in proportion'
    ),
    (
        'NPTOTMN', 'NPI-X', 'NPI-X(9) total, mean as published', 'mean', 'window', 1,
        'Mean of the chosen NPI-X(9) totals of weeks 6 to 12, as in the published analysis data'
    ),
    (
        'NPTOT424', 'NPI-X', 'NPI-X(9) total, mean of weeks 4 to 24', 'mean', 'window', 1,
        'Mean of the chosen NPI-X(9) totals of weeks 4 to 24'
    )
) as listed (paramcd, instrument, param, statistic, span, min_answered, rule)
