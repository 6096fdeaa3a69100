-- Gene sets of two collections: interferon signatures and the hallmarks.
-- grain: one row per collection, gene_set, symbol
-- column collection: interferon (shipped with the software) or hallmark (MSigDB)
-- column gene_set: Name of the set
-- column symbol: Gene symbol, as the collection writes it
-- column description: What the set is, or where it is described
-- column _source_file: Gene set file
-- column _source_row: Line of the gene set file
select 'interferon' as collection, gene_set, gene as symbol, description, _source_file, _source_row
from raw.interferon
union all
select 'hallmark' as collection, gene_set, gene as symbol, description, _source_file, _source_row
from raw.hallmark
