-- Milestones and the end of participation of everybody who gave consent.
-- grain: one row per usubjid, dsseq
-- null: dsstdy is null in people who were never treated
-- column dsdecod: Milestone or event, standardised
-- column dsterm: Milestone or event as reported
-- column dsstdy: Study day: 1 on the first day of treatment, -1 the day before
select
    study.studyid,
    'DS' as domain,
    'NLSIM-' || disposition.SUBJID as usubjid,
    row_number() over (
        partition by disposition.SUBJID order by disposition.DSDAT, disposition._source_row
    ) as dsseq,
    disposition.DSTERM as dsterm,
    disposition.DSDECOD as dsdecod,
    disposition.DSCAT as dscat,
    disposition.DSDAT as dsstdtc,
    date_diff('day', try_cast(dm.rfstdtc as date), try_cast(disposition.DSDAT as date))
    + (try_cast(disposition.DSDAT as date) >= try_cast(dm.rfstdtc as date))::integer as dsstdy,
    disposition._source_file,
    disposition._source_row
from raw.disposition
cross join meta.study as study
left join sdtm.dm on 'NLSIM-' || disposition.SUBJID = dm.usubjid
