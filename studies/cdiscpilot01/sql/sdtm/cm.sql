-- Concomitant medication.
-- grain: one row per usubjid, cmseq
-- unit: cmdose in cmdosu; visitdy, cmdy, cmstdy and cmendy in days
-- null: cmendtc is null where the medication went on
-- column _source_file: Archive and member that delivered the record
-- column _source_row: Observation number in the member, from 1
select
    STUDYID as studyid,
    DOMAIN as domain,
    USUBJID as usubjid,
    try_cast(CMSEQ as integer) as cmseq,
    CMSPID as cmspid,
    CMTRT as cmtrt,
    CMDECOD as cmdecod,
    CMINDC as cmindc,
    CMCLAS as cmclas,
    try_cast(CMDOSE as double) as cmdose,
    CMDOSU as cmdosu,
    CMDOSFRQ as cmdosfrq,
    CMROUTE as cmroute,
    try_cast(VISITNUM as double) as visitnum,
    VISIT as visit,
    try_cast(VISITDY as integer) as visitdy,
    EPOCH as epoch,
    CMDTC as cmdtc,
    CMSTDTC as cmstdtc,
    CMENDTC as cmendtc,
    try_cast(CMDY as integer) as cmdy,
    try_cast(CMSTDY as integer) as cmstdy,
    try_cast(CMENDY as integer) as cmendy,
    _source_file,
    _source_row
from raw.cm
