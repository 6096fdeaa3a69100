-- Genes of the annotation that the counts refer to.
-- grain: one row per feature_id
-- null: ensembl_id is null for the placeholders of the simulation
-- column feature_id: Gene identifier of the count files
-- column symbol: Gene symbol
-- column ensembl_id: Ensembl gene, without version
select
    gene_id as feature_id,
    symbol,
    case when starts_with(gene_id, 'ENSG') then split_part(gene_id, '.', 1) end as ensembl_id,
    biotype,
    chromosome,
    _source_file,
    _source_row
from raw.gene_table
