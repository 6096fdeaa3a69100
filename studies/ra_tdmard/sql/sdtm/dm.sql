-- Demographics of the participants, from the records of their biopsies.
-- grain: one row per usubjid
-- unit: age in ageu (years)
-- null: sex is null where the samples of one participant disagree; dates, site and race were not deposited
-- column acpa: Anti-citrullinated protein antibodies
-- column disease_duration_weeks: Time since diagnosis at the baseline biopsy, in weeks
-- column _source_file: Series matrix
-- column _source_row: Line of the cell that names the participant in the baseline sample
with
-- Age was deposited with the baseline sample only, so that sample speaks for the participant.
participant as (
    select
        subject_number,
        case when min(sex) = max(sex) then min(sex) end as sex,
        max(age) as age,
        max(acpa) as acpa,
        max(disease_duration_weeks) as disease_duration_weeks,
        arg_min(_source_file, (time_point != 'Baseline', geo_accession)) as _source_file,
        arg_min(_source_row, (time_point != 'Baseline', geo_accession)) as _source_row
    from staging.sample
    group by subject_number
)

select
    'GSE97165' as studyid,
    'DM' as domain,
    'GSE97165-' || subject_number as usubjid,
    subject_number as subjid,
    null::varchar as siteid,
    null::varchar as rfstdtc,
    null::varchar as rfendtc,
    age,
    case when age is not null then 'YEARS' end as ageu,
    sex,
    null::varchar as race,
    'TDMARD' as armcd,
    'Triple DMARD therapy' as arm,
    'TDMARD' as actarmcd,
    'Triple DMARD therapy' as actarm,
    acpa,
    disease_duration_weeks,
    _source_file,
    _source_row
from participant
order by usubjid
