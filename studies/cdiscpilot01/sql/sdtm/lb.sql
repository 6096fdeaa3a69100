-- Laboratory results: chemistry, haematology and urinalysis, delivered as three split datasets.
-- grain: one row per usubjid, lbseq
-- unit: lbstresn, lbstnrlo and lbstnrhi in lbstresu; visitdy and lbdy in days
-- null: lbstresn is null where the result is text
-- column _source_file: Archive and member that delivered the record
-- column _source_row: Observation number in the member, from 1
select
    STUDYID as studyid,
    DOMAIN as domain,
    USUBJID as usubjid,
    try_cast(LBSEQ as integer) as lbseq,
    LBTESTCD as lbtestcd,
    LBTEST as lbtest,
    LBCAT as lbcat,
    LBORRES as lborres,
    LBORRESU as lborresu,
    LBORNRLO as lbornrlo,
    LBORNRHI as lbornrhi,
    LBSTRESC as lbstresc,
    try_cast(LBSTRESN as double) as lbstresn,
    LBSTRESU as lbstresu,
    try_cast(LBSTNRLO as double) as lbstnrlo,
    try_cast(LBSTNRHI as double) as lbstnrhi,
    LBNRIND as lbnrind,
    LBBLFL as lbblfl,
    try_cast(VISITNUM as double) as visitnum,
    VISIT as visit,
    try_cast(VISITDY as integer) as visitdy,
    EPOCH as epoch,
    LBDTC as lbdtc,
    try_cast(LBDY as integer) as lbdy,
    _source_file,
    _source_row
from raw.lb
