-- Everybody who gave consent, with arm and the dates of first and last treatment.
-- grain: one row per usubjid
-- unit: age in years
-- null: rfstdtc and rfendtc are null in people who were never treated; armcd is null where the arm is none of study.toml
-- column usubjid: Unique subject identifier
-- column rfstdtc: Date of first treatment
-- column rfendtc: Date of last treatment
-- column rficdtc: Date of informed consent
-- column armcd: Planned arm, short; Scrnfail for a screen failure
with treated as (
    select
        SUBJID as subjid,
        min(try_cast(STARTDAT as date)) as first_dose,
        max(try_cast(ENDDAT as date)) as last_dose
    from raw.exposure
    group by SUBJID
),

person as (
    select
        demographics.* exclude (ARM),
        treated.first_dose,
        treated.last_dose,
        -- Nobody without an arm was enrolled; an arm that study.toml does not name stays null, for the gate to see.
        case when demographics.ARM is null then 'Scrnfail' else planned.armcd end as armcd,
        case when demographics.ARM is null then 'Screen Failure' else planned.arm end as arm
    from raw.demographics
    left join treated on demographics.SUBJID = treated.subjid
    left join meta.arm as planned on demographics.ARM = planned.arm
)

select
    study.studyid,
    'DM' as domain,
    study.studyid || '-' || person.SUBJID as usubjid,
    person.SUBJID as subjid,
    person.SITEID as siteid,
    person.first_dose::varchar as rfstdtc,
    person.last_dose::varchar as rfendtc,
    person.CONSENTDAT as rficdtc,
    try_cast(person.AGE as integer) as age,
    'YEARS' as ageu,
    upper(person.SEX) as sex,
    -- Not collected here; a column of the contract is null rather than absent.
    null::varchar as race,
    person.armcd,
    person.arm,
    case when person.armcd = 'Scrnfail' or person.first_dose is not null then person.armcd end as actarmcd,
    case when person.armcd = 'Scrnfail' or person.first_dose is not null then person.arm end as actarm,
    person._source_file,
    person._source_row
from person
cross join meta.study as study
