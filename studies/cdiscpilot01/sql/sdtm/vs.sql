-- Vital signs.
-- grain: one row per usubjid, vsseq
-- unit: vsstresn in vsstresu; visitdy and vsdy in days
-- null: vsstresn is null where the measurement was not done (vsstat)
-- column _source_file: Archive and member that delivered the record
-- column _source_row: Observation number in the member, from 1
select
    STUDYID as studyid,
    DOMAIN as domain,
    USUBJID as usubjid,
    try_cast(VSSEQ as integer) as vsseq,
    VSTESTCD as vstestcd,
    VSTEST as vstest,
    VSPOS as vspos,
    VSORRES as vsorres,
    VSORRESU as vsorresu,
    VSSTRESC as vsstresc,
    try_cast(VSSTRESN as double) as vsstresn,
    VSSTRESU as vsstresu,
    VSSTAT as vsstat,
    VSLOC as vsloc,
    VSBLFL as vsblfl,
    try_cast(VISITNUM as double) as visitnum,
    VISIT as visit,
    try_cast(VISITDY as integer) as visitdy,
    EPOCH as epoch,
    VSDTC as vsdtc,
    try_cast(VSDY as integer) as vsdy,
    VSTPT as vstpt,
    try_cast(VSTPTNUM as double) as vstptnum,
    VSELTM as vseltm,
    VSTPTREF as vstptref,
    _source_file,
    _source_row
from raw.vs
