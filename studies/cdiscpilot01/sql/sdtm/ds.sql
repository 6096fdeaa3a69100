-- Disposition: how each participant left screening, treatment and follow-up.
-- grain: one row per usubjid, dsseq
-- unit: dsdy and dsstdy in days
-- null: dsdy and dsstdy are null for screen failures, who have no reference start
-- column _source_file: Archive and member that delivered the record
-- column _source_row: Observation number in the member, from 1
select
    STUDYID as studyid,
    DOMAIN as domain,
    USUBJID as usubjid,
    try_cast(DSSEQ as integer) as dsseq,
    DSSPID as dsspid,
    DSTERM as dsterm,
    DSDECOD as dsdecod,
    DSCAT as dscat,
    try_cast(VISITNUM as double) as visitnum,
    VISIT as visit,
    EPOCH as epoch,
    DSDTC as dsdtc,
    DSSTDTC as dsstdtc,
    try_cast(DSDY as integer) as dsdy,
    try_cast(DSSTDY as integer) as dsstdy,
    _source_file,
    _source_row
from raw.ds
