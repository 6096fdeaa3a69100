-- The items of the scores of the CDISC pilot that are computed from others.
-- grain: one row per paramcd, qstestcd
-- unit: item_low and item_high in points of the item
-- column paramcd: Score that the item is part of
-- column item: Number of the item
-- column qstestcd: Short name of the item in sdtm.qs
-- column item_low: Lowest value of the item
-- column item_high: Highest value of the item
select
    paramcd,
    item,
    qstestcd,
    0.0::double as item_low,
    item_high::double as item_high
from (
    values
    ('ACTOT', 1, 'ACITM01', 10),
    ('ACTOT', 2, 'ACITM02', 5),
    ('ACTOT', 4, 'ACITM04', 5),
    ('ACTOT', 5, 'ACITM05', 5),
    ('ACTOT', 6, 'ACITM06', 5),
    ('ACTOT', 7, 'ACITM07', 8),
    ('ACTOT', 8, 'ACITM08', 12),
    ('ACTOT', 11, 'ACITM11', 5),
    ('ACTOT', 12, 'ACITM12', 5),
    ('ACTOT', 13, 'ACITM13', 5),
    ('ACTOT', 14, 'ACITM14', 5),
    ('NPTOTMN', 1, 'NPTOT', 108),
    ('NPTOT424', 1, 'NPTOT', 108)
) as listed (paramcd, item, qstestcd, item_high)
