-- Time to the first dermatologic event, as published in ADTTE.
-- grain: one row per usubjid, paramcd
-- unit: aval in days, both startdt and adt counted
-- null: srcseq is null where the time is censored
-- replaces: the published analysis data take the place of derivation
-- column trt01p: Planned treatment
-- column trt01a: Actual treatment
-- column _source_file: File of the published record
-- column _source_row: Observation in the file, from 1
select
    adsl.studyid,
    adsl.usubjid,
    adsl.trt01p,
    adsl.trt01a,
    adtte.PARAMCD as paramcd,
    adtte.PARAM as param,
    try_cast(adtte.STARTDT as date) as startdt,
    try_cast(adtte.ADT as date) as adt,
    try_cast(adtte.AVAL as integer) as aval,
    try_cast(adtte.CNSR as integer) as cnsr,
    adtte.EVNTDESC as evntdesc,
    adtte.SRCDOM as srcdom,
    adtte.SRCVAR as srcvar,
    try_cast(adtte.SRCSEQ as integer) as srcseq,
    adsl.saffl,
    adtte._source_file,
    adtte._source_row
from raw.adtte as adtte
inner join adam.adsl as adsl on adtte.USUBJID = adsl.usubjid
order by adsl.usubjid, paramcd
