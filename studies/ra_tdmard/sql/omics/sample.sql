-- The sequenced biopsies and whom, when and where they were taken from.
-- grain: one row per sample_id
-- unit: visitnum in months after the baseline biopsy
-- null: visit and visitnum are null where the time point is not one of the plan
-- column sample_id: Sample name: the column of the count matrix
-- column usubjid: Unique subject identifier, by the participant's number, never by the number in the
--   sample name
-- column visit: Planned visit, as in meta.visit
-- column visitnum: Planned visit, number
-- column tissue: Tissue
-- column sex: Sex, as deposited with this sample
-- column acpa: Anti-citrullinated protein antibodies
-- column geo_accession: Sample accession in the Gene Expression Omnibus
-- column _source_file: Series matrix
-- column _source_row: Line of the cell that names the participant
select
    sample_id,
    'GSE97165-' || subject_number as usubjid,
    case time_point when 'Baseline' then 'BASELINE' when '6 mo tDMARD' then 'MONTH 6' end as visit,
    case time_point when 'Baseline' then 0.0::double when '6 mo tDMARD' then 6.0::double end as visitnum,
    case source_name when 'synovial biopsy' then 'synovium' else source_name end as tissue,
    sex,
    acpa,
    geo_accession,
    _source_file,
    _source_row
from staging.sample
order by usubjid, visitnum
