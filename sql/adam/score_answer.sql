-- What an answer in words is worth, for items delivered without a number. Source: DLQI: Finlay AY, Khan GK,
-- Clin Exp Dermatol 1994;19:210-216, and the instructions for use of Cardiff University.
-- grain: one row per instrument, answer
-- unit: value in points of the item
-- column instrument: Instrument
-- column answer: Answer, in capitals
-- column value: Value of the answer
select
    instrument,
    answer,
    value::double as value
from (
    values
    ('DLQI', 'VERY MUCH', 3),
    ('DLQI', 'A LOT', 2),
    ('DLQI', 'A LITTLE', 1),
    ('DLQI', 'NOT AT ALL', 0),
    ('DLQI', 'NOT RELEVANT', 0),
    -- Only item 7 is answered so: yes is its greatest value, no leaves it to the second question.
    ('DLQI', 'YES', 3),
    ('DLQI', 'NO', 0)
) as answered (instrument, answer, value)
order by instrument, value desc, answer
