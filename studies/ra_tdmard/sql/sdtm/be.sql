-- Biospecimen events: the synovial biopsies.
-- grain: one row per usubjid, beseq
-- unit: visitnum in months after the baseline biopsy
-- null: bedtc is null: no dates were deposited; visit is null where the time point is not one of the plan
-- column berefid: Specimen: sample_id of omics.sample
-- column tissue: Tissue
-- column _source_file: Series matrix
-- column _source_row: Line of the cell that names the participant
with specimen as (
    select
        *,
        case time_point when 'Baseline' then 'BASELINE' when '6 mo tDMARD' then 'MONTH 6' end as visit,
        case time_point when 'Baseline' then 0.0::double when '6 mo tDMARD' then 6.0::double end as visitnum
    from staging.sample
)

select
    'GSE97165' as studyid,
    'BE' as domain,
    'GSE97165-' || subject_number as usubjid,
    row_number() over (partition by subject_number order by visitnum nulls last, sample_id)::integer as beseq,
    sample_id as berefid,
    'SYNOVIAL BIOPSY' as beterm,
    null::varchar as bedtc,
    visit,
    visitnum,
    case source_name when 'synovial biopsy' then 'synovium' else source_name end as tissue,
    _source_file,
    _source_row
from specimen
order by usubjid, beseq
