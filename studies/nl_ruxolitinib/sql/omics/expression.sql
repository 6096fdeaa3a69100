-- Reads per gene and library. The libraries are reverse-stranded, so STAR's last column is the sense strand.
-- grain: one row per feature_id, sample_id
-- unit: count and count_delivered in reads
-- null: count and count_delivered are null where the file holds text
-- column count: Reads, rounded to the nearest whole number, ties away from zero
-- column count_delivered: Reads as delivered
select
    gene_id as feature_id,
    sample_id,
    round(try_cast(reverse as double))::bigint as count,
    try_cast(reverse as double) as count_delivered,
    _source_file,
    _source_row
from raw.star
-- The first rows of a file count the reads that fell on no single gene.
where not starts_with(gene_id, 'N_')
