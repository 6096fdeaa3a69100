-- The gene sets that moved together most surely, contrast by contrast.
-- grain: one row per contrast, collection, gene_set
-- unit: nes is the enrichment score over the mean of its permutations; sizes in genes
-- null: description is null where the collection gives none
-- column contrast: Contrast as in study.toml
-- column position: Place by p-value within the contrast
-- column gene_set: Name of the set
-- column size_ranked: Genes of the set that are in the ranking
-- column nes: Normalised enrichment score: positive is higher where the contrast's weights are positive
-- column leading_edge: Genes that carry the score, the most extreme first
select
    contrast,
    contrast_title,
    row_number() over (
        partition by contrast
        order by p_value asc, abs(nes) desc, collection asc, gene_set asc
    ) as position,
    collection,
    gene_set,
    description,
    size_in_collection,
    size_ranked,
    nes,
    p_value,
    p_adjusted,
    leading_edge,
    leading_edge_size,
    direction,
    status
from results.enriched_gene_sets
where p_value is not null
qualify position <= 40
