-- Questionnaires, items and totals, delivered as six split datasets.
-- grain: one row per usubjid, qsseq
-- unit: qsstresn in score points; visitdy and qsdy in days
-- null: qsstresn is null where the item was not done (qsstat, qsreasnd)
-- column _source_file: Archive and member that delivered the record
-- column _source_row: Observation number in the member, from 1
select
    STUDYID as studyid,
    DOMAIN as domain,
    USUBJID as usubjid,
    try_cast(QSSEQ as integer) as qsseq,
    QSTESTCD as qstestcd,
    QSTEST as qstest,
    QSCAT as qscat,
    QSSCAT as qsscat,
    QSORRES as qsorres,
    QSORRESU as qsorresu,
    QSSTRESC as qsstresc,
    try_cast(QSSTRESN as double) as qsstresn,
    QSSTRESU as qsstresu,
    QSSTAT as qsstat,
    QSREASND as qsreasnd,
    QSBLFL as qsblfl,
    QSDRVFL as qsdrvfl,
    try_cast(VISITNUM as double) as visitnum,
    VISIT as visit,
    try_cast(VISITDY as integer) as visitdy,
    EPOCH as epoch,
    QSDTC as qsdtc,
    try_cast(QSDY as integer) as qsdy,
    _source_file,
    _source_row
from raw.qs
