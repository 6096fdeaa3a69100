-- What the series matrix says of each sample, cell by cell and by the key inside the cell.
-- grain: one row per geo_accession
-- unit: age in years; disease_duration_weeks in weeks
-- null: age and disease_duration_weeks are null on follow-up samples, which were deposited without them
-- column geo_accession: Sample accession in the Gene Expression Omnibus
-- column sample_id: Sample name: the column of the count matrix
-- column subject_number: Participant; the number inside sample_id is another count and no key
-- column sex: Sex
-- column age: Age at the baseline biopsy
-- column time_point: Time point as deposited
-- column disease: Disease
-- column disease_duration_weeks: Time since diagnosis at the baseline biopsy
-- column acpa: Anti-citrullinated protein antibodies
-- column source_name: Tissue as deposited
-- column _source_file: Series matrix
-- column _source_row: Line of the cell that names the participant
select
    sample_id as geo_accession,
    max(value) filter (where field = 'Sample_description') as sample_id,
    max(value) filter (where key = 'subject number') as subject_number,
    max(value) filter (where key = 'Sex') as sex,
    try_cast(max(value) filter (where key = 'age') as integer) as age,
    max(value) filter (where key = 'time point') as time_point,
    max(value) filter (where key = 'disease') as disease,
    try_cast(max(value) filter (where key = 'disease duration in weeks') as integer)
        as disease_duration_weeks,
    max(value) filter (where key = 'acpa positivity') as acpa,
    max(value) filter (where field = 'Sample_source_name_ch1') as source_name,
    max(_source_file) as _source_file,
    -- The characteristics are shifted between baseline and follow-up samples: only the key finds the cell.
    max(_source_row) filter (where key = 'subject number') as _source_row
from raw.series
where section = 'sample'
group by sample_id
order by geo_accession
