-- How each person's participation ended.
-- grain: one row per usubjid, dsseq
-- null: dsstdy is null in people who were never treated
-- column dsdecod: Outcome, standardised: COMPLETED, SCREEN FAILURE, or why the person left
-- column dsterm: Outcome as reported
-- column dsstdy: Study day: 1 on the first day of treatment, -1 the day before
with dated as (
    select
        study.studyid,
        study.studyid || '-' || disposition.SUBJID as usubjid,
        disposition.*,
        try_cast(disposition.DSDAT as date) as ended_on
    from raw.disposition
    cross join meta.study as study
)

select
    dated.studyid,
    'DS' as domain,
    dated.usubjid,
    row_number() over (partition by dated.usubjid order by dated.ended_on, dated._source_row) as dsseq,
    coalesce(dated.REASON, dated.OUTCOME) as dsterm,
    upper(dated.OUTCOME) as dsdecod,
    'DISPOSITION EVENT' as dscat,
    dated.DSDAT as dsstdtc,
    date_diff('day', try_cast(dm.rfstdtc as date), dated.ended_on)
    + (dated.ended_on >= try_cast(dm.rfstdtc as date))::integer as dsstdy,
    dated._source_file,
    dated._source_row
from dated
left join sdtm.dm on dated.usubjid = dm.usubjid
