-- Medical history.
-- grain: one row per usubjid, mhseq
-- unit: visitdy and mhdy in days
-- null: mhstdtc is null where the start was not recorded
-- column _source_file: Archive and member that delivered the record
-- column _source_row: Observation number in the member, from 1
select
    STUDYID as studyid,
    DOMAIN as domain,
    USUBJID as usubjid,
    try_cast(MHSEQ as integer) as mhseq,
    MHSPID as mhspid,
    MHTERM as mhterm,
    MHLLT as mhllt,
    MHDECOD as mhdecod,
    MHHLT as mhhlt,
    MHHLGT as mhhlgt,
    MHCAT as mhcat,
    MHBODSYS as mhbodsys,
    MHSEV as mhsev,
    try_cast(VISITNUM as double) as visitnum,
    VISIT as visit,
    try_cast(VISITDY as integer) as visitdy,
    MHDTC as mhdtc,
    MHSTDTC as mhstdtc,
    try_cast(MHDY as integer) as mhdy,
    _source_file,
    _source_row
from raw.mh
