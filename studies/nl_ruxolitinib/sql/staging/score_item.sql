-- The items of the study's own composite.
-- grain: one row per paramcd, qstestcd
-- unit: item_low and item_high in points of the item
-- column paramcd: Score that the item is part of
-- column qstestcd: Short name of the item in sdtm.qs
select
    'NLSCORE' as paramcd,
    item,
    qstestcd,
    0.0::double as item_low,
    item_high::double as item_high
from (
    values
    (1, 'NLERYTH', 8),
    (2, 'NLINDUR', 8),
    (3, 'NLSCALE', 8),
    (4, 'NLPIGM', 8),
    (5, 'NLSIZE', 18)
) as listed (item, qstestcd, item_high)
