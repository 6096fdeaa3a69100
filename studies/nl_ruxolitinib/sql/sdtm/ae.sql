-- Adverse events, coded by the safety office.
-- grain: one row per usubjid, aeseq
-- null: aestdtc and aeendtc are null where the log holds no date as day-MONTH-year; aeendtc also while the event lasts
-- column aeterm: Event as reported
-- column aedecod: Preferred term
-- column aebodsys: System organ class
-- column aetoxgr: Grade
-- column aeser: Y: serious
-- column aerel: Relation to treatment as judged by the investigator
-- column aestdy: Study day of onset
with dated as (
    select
        *,
        cast(try_strptime(STARTDAT, '%d-%b-%Y') as date) as onset,
        cast(try_strptime(ENDDAT, '%d-%b-%Y') as date) as resolution
    from raw.adverse_events
)

select
    study.studyid,
    'AE' as domain,
    'NLSIM-' || dated.SUBJID as usubjid,
    row_number() over (
        partition by dated.SUBJID order by try_cast(dated.AE_NO as integer), dated._source_row
    ) as aeseq,
    dated.AE_NO as aespid,
    dated.VERBATIM as aeterm,
    dated.PT as aedecod,
    dated.SOC as aebodsys,
    upper(dated.SEVERITY) as aesev,
    dated.GRADE as aetoxgr,
    upper(dated.SERIOUS) as aeser,
    upper(dated.RELATED) as aerel,
    upper(dated.ACTION) as aeacn,
    upper(dated.OUTCOME) as aeout,
    strftime(dated.onset, '%Y-%m-%d') as aestdtc,
    strftime(dated.resolution, '%Y-%m-%d') as aeendtc,
    date_diff('day', try_cast(dm.rfstdtc as date), dated.onset)
    + (dated.onset >= try_cast(dm.rfstdtc as date))::integer as aestdy,
    date_diff('day', try_cast(dm.rfstdtc as date), dated.resolution)
    + (dated.resolution >= try_cast(dm.rfstdtc as date))::integer as aeendy,
    -- Kept as delivered, so that a date which cannot be read is not mistaken for one that is absent.
    dated.STARTDAT as aestdat_delivered,
    dated._source_file,
    dated._source_row
from dated
cross join meta.study as study
left join sdtm.dm on 'NLSIM-' || dated.SUBJID = dm.usubjid
