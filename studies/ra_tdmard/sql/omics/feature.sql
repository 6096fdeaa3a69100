-- The rows of the count matrix, with what a present-day gene table makes of their symbols.
-- grain: one row per feature_id
-- null: current_symbol, entrez_id and ensembl_id are null where the symbol is unmapped or ambiguous
-- column feature_id: Row name of the count matrix
-- column symbol: Gene symbol as delivered, of 2016
-- column current_symbol: Gene symbol in the gene table
-- column entrez_id: NCBI gene number
-- column ensembl_id: Ensembl gene; null where the gene has several
-- column symbol_status: current, alias (renamed since), ambiguous (several genes answer to it) or unmapped
-- column _source_file: Count matrix
-- column _source_row: Line of the count matrix
with
feature as (
    select feature_id, min(_source_file) as _source_file, min(_source_row) as _source_row
    from raw.counts
    group by feature_id
),

-- A symbol in use today wins over the same word as the former name of another gene.
name as (
    select symbol as delivered, 'current' as symbol_status, symbol, entrez_id, ensembl_ids
    from raw.gene_map
    union
    select unnest(string_split(aliases, '|')), 'alias', symbol, entrez_id, ensembl_ids
    from raw.gene_map
),

match as (
    select
        *,
        count(*) over (partition by delivered, symbol_status) as genes
    from name
    qualify
        rank() over (partition by delivered order by symbol_status = 'current' desc) = 1
        and row_number() over (partition by delivered, symbol_status order by entrez_id) = 1
)

select
    feature.feature_id,
    feature.feature_id as symbol,
    case when match.genes = 1 then match.symbol end as current_symbol,
    case when match.genes = 1 then match.entrez_id end as entrez_id,
    case when match.genes = 1 and match.ensembl_ids not like '%|%' then match.ensembl_ids end as ensembl_id,
    case
        when match.genes > 1 then 'ambiguous'
        else coalesce(match.symbol_status, 'unmapped')
    end as symbol_status,
    feature._source_file,
    feature._source_row
from feature
left join match on feature.feature_id = match.delivered
order by feature._source_row, feature.feature_id
