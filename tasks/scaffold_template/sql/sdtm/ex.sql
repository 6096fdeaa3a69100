-- Treatment periods.
-- grain: one row per usubjid, exseq
-- unit: exdose in exdosu
-- null: exdose is null where the log is empty or holds text
-- column exseq: Number of the period within the person
-- column exstdy: Study day of the first dose
-- column exendy: Study day of the last dose
with dated as (
    select
        study.studyid,
        study.studyid || '-' || exposure.SUBJID as usubjid,
        exposure.*,
        try_cast(exposure.STARTDAT as date) as start_date,
        try_cast(exposure.ENDDAT as date) as end_date
    from raw.exposure
    cross join meta.study as study
)

select
    dated.studyid,
    'EX' as domain,
    dated.usubjid,
    row_number() over (partition by dated.usubjid order by dated.start_date, dated._source_row) as exseq,
    upper(dated.TREATMENT) as extrt,
    try_cast(dated.DOSE_MG as double) as exdose,
    'mg' as exdosu,
    'ORAL' as exroute,
    dated.STARTDAT as exstdtc,
    dated.ENDDAT as exendtc,
    -- There is no study day 0: the day before the first dose is day -1.
    date_diff('day', try_cast(dm.rfstdtc as date), dated.start_date)
    + (dated.start_date >= try_cast(dm.rfstdtc as date))::integer as exstdy,
    date_diff('day', try_cast(dm.rfstdtc as date), dated.end_date)
    + (dated.end_date >= try_cast(dm.rfstdtc as date))::integer as exendy,
    dated._source_file,
    dated._source_row
from dated
left join sdtm.dm on dated.usubjid = dm.usubjid
