-- Biopsies taken, one per library of the laboratory.
-- grain: one row per usubjid, beseq
-- null: visitnum is null for a time point that study.toml does not name
-- column berefid: Sample identifier of the laboratory
-- column tissue: LESIONAL or NON-LESIONAL
-- column visit: Visit, in the words of study.toml
with biopsy as (
    select
        *,
        case upper(TIMEPOINT)
            when 'BL' then 'BASELINE'
            when 'W12' then 'WEEK 12'
            else upper(TIMEPOINT)
        end as visit_name
    from raw.sample_sheet
)

select
    study.studyid,
    'BE' as domain,
    'NLSIM-' || biopsy.SUBJECT as usubjid,
    row_number() over (partition by biopsy.SUBJECT order by biopsy.COLLECTED, biopsy._source_row) as beseq,
    biopsy.SAMPLE_ID as berefid,
    'COLLECTED' as beterm,
    'COLLECTION' as becat,
    biopsy.COLLECTED as bedtc,
    date_diff('day', try_cast(dm.rfstdtc as date), try_cast(biopsy.COLLECTED as date))
    + (try_cast(biopsy.COLLECTED as date) >= try_cast(dm.rfstdtc as date))::integer as bedy,
    biopsy.visit_name as visit,
    planned.avisitn as visitnum,
    upper(biopsy.TISSUE) as tissue,
    biopsy._source_file,
    biopsy._source_row
from biopsy
cross join meta.study as study
left join sdtm.dm on 'NLSIM-' || biopsy.SUBJECT = dm.usubjid
left join meta.visit as planned on biopsy.visit_name = planned.avisit
