-- Treatment periods: the strength of the cream and how often it was applied.
-- grain: one row per usubjid, exseq
-- unit: exdose in percent of ruxolitinib in the cream; exvamt in exvamtu
-- null: a number is null where the log is empty or holds text
-- column exdose: Strength of the cream
-- column exvamt: Cream used in the period
-- column exvamtu: Unit of exvamt
-- column exstdy: Study day of the first application
-- column exendy: Study day of the last application
select
    study.studyid,
    'EX' as domain,
    'NLSIM-' || exposure.SUBJID as usubjid,
    row_number() over (partition by exposure.SUBJID order by exposure.STARTDAT, exposure._source_row) as exseq,
    upper(exposure.TREATMENT) as extrt,
    try_cast(exposure.STRENGTH_PCT as double) as exdose,
    '%' as exdosu,
    'CREAM' as exdosfrm,
    exposure.FREQUENCY as exdosfrq,
    'TOPICAL' as exroute,
    exposure.STARTDAT as exstdtc,
    exposure.ENDDAT as exendtc,
    date_diff('day', try_cast(dm.rfstdtc as date), try_cast(exposure.STARTDAT as date))
    + (try_cast(exposure.STARTDAT as date) >= try_cast(dm.rfstdtc as date))::integer as exstdy,
    date_diff('day', try_cast(dm.rfstdtc as date), try_cast(exposure.ENDDAT as date))
    + (try_cast(exposure.ENDDAT as date) >= try_cast(dm.rfstdtc as date))::integer as exendy,
    try_cast(exposure.GRAMS_USED as double) as exvamt,
    'g' as exvamtu,
    exposure._source_file,
    exposure._source_row
from raw.exposure
cross join meta.study as study
left join sdtm.dm on 'NLSIM-' || exposure.SUBJID = dm.usubjid
