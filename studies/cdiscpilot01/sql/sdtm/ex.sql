-- Exposure: each period on one dose of the transdermal patch.
-- grain: one row per usubjid, exseq
-- unit: exdose in exdosu; visitdy, exstdy and exendy in days
-- null: exendtc and exendy are null where the last period was never closed
-- column _source_file: Archive and member that delivered the record
-- column _source_row: Observation number in the member, from 1
select
    STUDYID as studyid,
    DOMAIN as domain,
    USUBJID as usubjid,
    try_cast(EXSEQ as integer) as exseq,
    EXTRT as extrt,
    try_cast(EXDOSE as double) as exdose,
    EXDOSU as exdosu,
    EXDOSFRM as exdosfrm,
    EXDOSFRQ as exdosfrq,
    EXROUTE as exroute,
    try_cast(VISITNUM as double) as visitnum,
    VISIT as visit,
    try_cast(VISITDY as integer) as visitdy,
    EPOCH as epoch,
    EXSTDTC as exstdtc,
    EXENDTC as exendtc,
    try_cast(EXSTDY as integer) as exstdy,
    try_cast(EXENDY as integer) as exendy,
    _source_file,
    _source_row
from raw.ex
