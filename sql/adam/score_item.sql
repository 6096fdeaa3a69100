-- The items that each computed score is made of, by their short names in sdtm.qs. Items of a study's own score
-- (staging.score_item) take the place of the house's.
-- grain: one row per paramcd, qstestcd
-- unit: item_low and item_high in the unit of the item
-- null: item_low and item_high are null where the item has no fixed range
-- optional: staging.score_item (paramcd varchar, item integer, qstestcd varchar, item_low double, item_high double)
-- column paramcd: Score that the item is part of
-- column item: Number of the item; questions of one number are one item, of which the highest answer counts
-- column qstestcd: Short name of the item in sdtm.qs
-- column item_low: Lowest value of the item
-- column item_high: Highest value of the item
with numbered as (
    select 'DLQI' as paramcd, i as item, 'DLQI' || lpad(i::varchar, 2, '0') as qstestcd, 0 as item_low, 3 as item_high
    from range(1, 11) as numbers (i)
    union all
    -- Does the skin keep you from work (yes or no); if not, how much of a problem has it been there.
    select 'DLQI', 7, 'DLQI07B', 0, 2
    union all
    select
        case when i <= 4 then 'SKDX16SY' when i <= 11 then 'SKDX16EM' else 'SKDX16FN' end,
        i,
        'SKDX16' || lpad(i::varchar, 2, '0'),
        0,
        6
    from range(1, 17) as numbers (i)
    union all
    select paramcd, item, qstestcd, item_low, item_high
    from (
        values
        ('ITCHNRSW', 1, 'ITCHNRSD', 0, 10),
        ('PAINNRSW', 1, 'PAINNRSD', 0, 10),
        ('MCAILS', 1, 'CAILSERY', 0, 8),
        ('MCAILS', 2, 'CAILSSCL', 0, 8),
        ('MCAILS', 3, 'CAILSELV', 0, 8),
        ('MCAILS', 4, 'CAILSSIZ', 0, 18),
        ('MCAILSMN', 1, 'CAILSERY', 0, 8),
        ('MCAILSMN', 2, 'CAILSSCL', 0, 8),
        ('MCAILSMN', 3, 'CAILSELV', 0, 8),
        ('MCAILSMN', 4, 'CAILSSIZ', 0, 18)
    ) as listed (paramcd, item, qstestcd, item_low, item_high)
)

select
    paramcd,
    item::integer as item,
    qstestcd,
    item_low::double as item_low,
    item_high::double as item_high
from numbered
where paramcd not in (select own.paramcd from staging.score_item as own)
union all
select paramcd, item::integer, qstestcd, item_low::double, item_high::double
from staging.score_item
order by paramcd, item, qstestcd
