-- Quality of each library: its size, the genes seen, and whether the expressed sex is the recorded one.
-- grain: one row per sample_id
-- unit: library_size in reads; library_size_of_median_pct in percent; xist_log2_cpm and y_log2_cpm in log2 reads per million
-- null: xist_log2_cpm and y_log2_cpm are null where the gene table lacks these genes; expressed_sex is null where they are absent, too few or contradictory; is_sex_concordant is null where either sex is unknown
-- column library_size: Reads counted on genes
-- column library_size_of_median_pct: Library size in percent of the study's median
-- column is_library_size_low: Library size below a tenth of the study's median
-- column n_genes_detected: Genes with at least one read
-- column xist_log2_cpm: XIST, expressed from the inactive X chromosome: high in females
-- column y_log2_cpm: RPS4Y1, DDX3Y, KDM5D and UTY together, genes of the Y chromosome: high in males
-- column expressed_sex: F or M as the genes say
-- column recorded_sex: F or M as sdtm.dm says
-- column is_sex_concordant: Expressed and recorded sex agree
with library as (
    select
        expression.sample_id,
        sum(expression.count)::bigint as library_size,
        count(*) filter (where expression.count > 0) as n_genes_detected,
        sum(expression.count) filter (where feature.symbol = 'XIST') as xist_reads,
        sum(expression.count) filter (where feature.symbol in ('RPS4Y1', 'DDX3Y', 'KDM5D', 'UTY')) as y_reads
    from omics.expression
    left join omics.feature on expression.feature_id = feature.feature_id
    group by expression.sample_id
),

-- A sample whose counts were not delivered has no library and takes no part in the median.
measured as (
    select
        sample.sample_id,
        sample.usubjid,
        sample.visit,
        sample.tissue,
        dm.sex as recorded_sex,
        library.* exclude (sample_id),
        100 * library.library_size / nullif(median(library.library_size) over (), 0) as library_size_of_median_pct,
        -- Half a read keeps the logarithm finite without moving a gene that is expressed.
        log2(1e6 * (library.xist_reads + 0.5) / (library.library_size + 1)) as xist_log2_cpm,
        log2(1e6 * (library.y_reads + 0.5) / (library.library_size + 1)) as y_log2_cpm,
        sample._source_file,
        sample._source_row
    from omics.sample
    left join library on sample.sample_id = library.sample_id
    left join sdtm.dm on sample.usubjid = dm.usubjid
),

sexed as (
    select
        *,
        case
            -- Fewer reads than these on all the markers say nothing about the sex.
            when xist_reads + y_reads < 10 then null
            when xist_log2_cpm - y_log2_cpm >= 2 then 'F'
            when y_log2_cpm - xist_log2_cpm >= 2 then 'M'
        end as expressed_sex
    from measured
)

select
    sample_id,
    usubjid,
    visit,
    tissue,
    library_size,
    library_size_of_median_pct,
    library_size_of_median_pct < 10 as is_library_size_low,
    n_genes_detected,
    xist_log2_cpm,
    y_log2_cpm,
    expressed_sex,
    recorded_sex,
    -- A recorded sex other than F and M is nothing that the genes could contradict.
    case when recorded_sex in ('F', 'M') then expressed_sex = recorded_sex end as is_sex_concordant,
    _source_file,
    _source_row
from sexed
