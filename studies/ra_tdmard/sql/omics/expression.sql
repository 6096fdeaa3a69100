-- Expected counts of every feature in every sample, and their whole numbers.
-- grain: one row per feature_id, sample_id
-- unit: count and count_delivered in fragments
-- null: count is null where the delivered value is no number
-- column feature_id: Row name of the count matrix
-- column sample_id: Column name of the count matrix
-- column count: count_delivered rounded to the nearest whole number, ties away from zero
-- column count_delivered: Expected count as RSEM estimated it: a fragment that fits several genes is
--   shared out
-- column _source_file: Count matrix
-- column _source_row: Line of the count matrix
select
    feature_id,
    sample_id,
    -- A count model needs whole numbers; the estimate stays beside them.
    round(try_cast(value as double))::bigint as count,
    try_cast(value as double) as count_delivered,
    _source_file,
    _source_row
from raw.counts
