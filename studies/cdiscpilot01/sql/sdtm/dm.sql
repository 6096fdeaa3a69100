-- Demographics: everybody who was screened, with planned and actual arm.
-- grain: one row per usubjid
-- unit: age in ageu (years); dmdy in days
-- null: rfstdtc, rfendtc, rfxstdtc and rfxendtc are null for screen failures; rficdtc is null throughout:
--   the file delivers no consent date
-- column _source_file: Archive and member that delivered the record
-- column _source_row: Observation number in the member, from 1
select
    STUDYID as studyid,
    DOMAIN as domain,
    USUBJID as usubjid,
    SUBJID as subjid,
    RFSTDTC as rfstdtc,
    RFENDTC as rfendtc,
    RFXSTDTC as rfxstdtc,
    RFXENDTC as rfxendtc,
    RFICDTC as rficdtc,
    RFPENDTC as rfpendtc,
    DTHDTC as dthdtc,
    DTHFL as dthfl,
    SITEID as siteid,
    try_cast(AGE as double) as age,
    AGEU as ageu,
    SEX as sex,
    RACE as race,
    ETHNIC as ethnic,
    ARMCD as armcd,
    ARM as arm,
    ACTARMCD as actarmcd,
    ACTARM as actarm,
    COUNTRY as country,
    DMDTC as dmdtc,
    try_cast(DMDY as integer) as dmdy,
    _source_file,
    _source_row
from raw.dm
