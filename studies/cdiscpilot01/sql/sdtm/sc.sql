-- Subject characteristics: years of education.
-- grain: one row per usubjid, scseq
-- unit: scstresn in scstresu; scdy in days
-- null: scstresn is null where the answer is no number
-- column _source_file: Archive and member that delivered the record
-- column _source_row: Observation number in the member, from 1
select
    STUDYID as studyid,
    DOMAIN as domain,
    USUBJID as usubjid,
    try_cast(SCSEQ as integer) as scseq,
    SCTESTCD as sctestcd,
    SCTEST as sctest,
    SCCAT as sccat,
    SCORRES as scorres,
    SCORRESU as scorresu,
    SCSTRESC as scstresc,
    try_cast(SCSTRESN as double) as scstresn,
    SCSTRESU as scstresu,
    SCDTC as scdtc,
    try_cast(SCDY as integer) as scdy,
    _source_file,
    _source_row
from raw.sc
