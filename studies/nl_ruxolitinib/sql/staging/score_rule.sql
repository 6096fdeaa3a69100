-- The rule of the study's own composite, in the manner of a CAILS score for one lesion; it checks the totals that
-- sdtm.qs holds. What its items are is assumed: they are not public.
-- grain: one row per paramcd
-- unit: min_answered in items
-- null: missing_value is null, for an item without a value stays missing; across_lesions is null, for one lesion
--   is rated
-- column paramcd: Score that the rule gives
-- column rule: The rule in words
select
    'NLSCORE' as paramcd,
    'NL LESION SCORE' as instrument,
    'NL lesion score, total' as param,
    'sum' as statistic,
    'assessment' as span,
    5 as min_answered,
    null::double as missing_value,
    1.0::double as multiplier,
    null::varchar as across_lesions,
    'Sum of erythema, induration, scale and dyspigmentation of 0 to 8 and size class of 0 to 18; all needed' as rule
