-- The randomised participants, as published in ADSL.
-- Sets that the published data do not flag follow the house's definitions from what they do say: full analysis is
-- everybody treated; per protocol, without recorded deviations, is whoever completed.
-- grain: one row per usubjid
-- unit: age in ageu; trtdurd in days; trt01pn and trt01an in mg; heightbl in cm; weightbl in kg; bmibl in kg/m2;
--   educlvl in years; durdis in months; mmsetot in points; cumdose and avgdd in mg
-- null: dcsreas is null for those who completed; comp8fl, comp16fl, comp24fl, disconfl, dsraefl and dthfl as
--   published; is_trtedt_imputed is null: the published data do not say
-- replaces: the published analysis data take the place of derivation
-- column _source_file: File of the published record
-- column _source_row: Observation in the file, from 1
select
    adsl.STUDYID as studyid,
    adsl.USUBJID as usubjid,
    adsl.SUBJID as subjid,
    adsl.SITEID as siteid,
    adsl.SITEGR1 as sitegr1,
    try_cast(adsl.AGE as double) as age,
    adsl.AGEU as ageu,
    adsl.AGEGR1 as agegr1,
    adsl.SEX as sex,
    adsl.RACE as race,
    adsl.ETHNIC as ethnic,
    -- As the study report groups it: whoever is of Hispanic origin, then by race.
    case
        when adsl.ETHNIC = 'HISPANIC OR LATINO' then 'Hispanic'
        when adsl.RACE = 'WHITE' then 'Caucasian'
        when adsl.RACE = 'BLACK OR AFRICAN AMERICAN' then 'African descent'
        else 'Other'
    end as origin,
    arm.armcd,
    adsl.ARM as arm,
    adsl.TRT01P as trt01p,
    try_cast(adsl.TRT01PN as double) as trt01pn,
    adsl.TRT01A as trt01a,
    try_cast(adsl.TRT01AN as double) as trt01an,
    try_cast(adsl.TRTSDT as date) as trtsdt,
    try_cast(adsl.TRTEDT as date) as trtedt,
    null::boolean as is_trtedt_imputed,
    try_cast(adsl.TRTDURD as integer) as trtdurd,
    'Y' as enrlfl,
    'Y' as randfl,
    adsl.SAFFL as saffl,
    adsl.SAFFL as fasfl,
    adsl.ITTFL as ittfl,
    adsl.EFFFL as efffl,
    case when adsl.SAFFL = 'Y' and adsl.EOSSTT = 'COMPLETED' then 'Y' else 'N' end as pprotfl,
    case when adsl.EOSSTT = 'COMPLETED' then 'Y' else 'N' end as complfl,
    'N' as bmevalfl,
    adsl.EOSSTT as eosstt,
    try_cast(adsl.RFENDT as date) as eosdt,
    adsl.DCSREAS as dcsreas,
    case when adsl.EOSSTT = 'DISCONTINUED' then adsl.DCDECOD end as dcsreasp,
    try_cast(adsl.HEIGHTBL as double) as heightbl,
    try_cast(adsl.WEIGHTBL as double) as weightbl,
    try_cast(adsl.BMIBL as double) as bmibl,
    adsl.BMIBLGR1 as bmiblgr1,
    try_cast(adsl.EDUCLVL as double) as educlvl,
    try_cast(adsl.MMSETOT as double) as mmsetot,
    try_cast(adsl.VISIT1DT as date) as visit1dt,
    try_cast(adsl.DISONSDT as date) as disonsdt,
    try_cast(adsl.DURDIS as double) as durdis,
    adsl.DURDSGR1 as durdsgr1,
    try_cast(adsl.VISNUMEN as double) as visnumen,
    try_cast(adsl.RFENDT as date) as rfendt,
    try_cast(adsl.CUMDOSE as double) as cumdose,
    try_cast(adsl.AVGDD as double) as avgdd,
    adsl.COMP8FL as comp8fl,
    adsl.COMP16FL as comp16fl,
    adsl.COMP24FL as comp24fl,
    adsl.DCDECOD as dcdecod,
    adsl.DISCONFL as disconfl,
    adsl.DSRAEFL as dsraefl,
    adsl.DTHFL as dthfl,
    adsl._source_file,
    adsl._source_row
from raw.adsl as adsl
left join meta.arm as arm on adsl.ARM = arm.arm
order by usubjid
