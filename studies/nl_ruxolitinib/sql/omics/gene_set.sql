-- Gene sets that the study tests, one member per row.
-- grain: one row per collection, gene_set, symbol
-- column collection: Family of sets that are tested together
-- column description: What the set is and where it comes from
select distinct on (gene_set, gene)
    'interferon' as collection,
    gene_set,
    gene as symbol,
    description,
    _source_file,
    _source_row
from raw.gene_sets
order by gene_set, gene, _source_row
