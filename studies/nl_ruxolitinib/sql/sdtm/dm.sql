-- Everybody who gave consent, with arm and the dates of first and last treatment.
-- grain: one row per usubjid
-- unit: age in years
-- null: rfstdtc and rfendtc are null in people who were never treated
-- column usubjid: Unique subject identifier
-- column subjid: Subject identifier within the study
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
        demographics.* exclude (STUDYID, ARM),
        study.studyid,
        'NLSIM-' || demographics.SUBJID as usubjid,
        treated.first_dose,
        treated.last_dose,
        -- An arm that study.toml does not name stays null, for the gate to see.
        case
            when eligibility.is_enrolled then arm.armcd
            when not eligibility.is_enrolled then 'Scrnfail'
        end as armcd,
        case
            when eligibility.is_enrolled then arm.arm
            when not eligibility.is_enrolled then 'Screen Failure'
        end as arm
    from raw.demographics
    cross join meta.study as study
    left join treated on demographics.SUBJID = treated.subjid
    left join staging.eligibility on 'NLSIM-' || demographics.SUBJID = eligibility.usubjid
    left join meta.arm on demographics.ARM = arm.arm
)

select
    studyid,
    'DM' as domain,
    usubjid,
    SUBJID as subjid,
    SITEID as siteid,
    strftime(first_dose, '%Y-%m-%d') as rfstdtc,
    strftime(last_dose, '%Y-%m-%d') as rfendtc,
    CONSENTDAT as rficdtc,
    try_cast(AGE as integer) as age,
    'YEARS' as ageu,
    upper(SEX) as sex,
    RACE as race,
    ETHNIC as ethnic,
    armcd,
    arm,
    -- Everybody who was treated had the only treatment there is.
    case when armcd = 'Scrnfail' or first_dose is not null then armcd end as actarmcd,
    case when armcd = 'Scrnfail' or first_dose is not null then arm end as actarm,
    _source_file,
    _source_row
from person
