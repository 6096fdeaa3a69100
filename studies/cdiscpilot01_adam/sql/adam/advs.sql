-- Vital signs as published in ADVS, in the columns of the house.
-- grain: one row per usubjid, vsseq, dtype
-- unit: aval, base and chg in unit; ady in days
-- null: avisit for screening, unscheduled and event-related visits; base where ADVS has none; the flags are Y or
--   null
-- replaces: the published analysis data take the place of derivation
-- column trt01p: Planned treatment
-- column trt01a: Actual treatment
-- column unit: Unit, from the name of the parameter
-- column ontrtfl: Y: on treatment: after the first day, up to the visit of week 26
-- column dtype: LOV: the last value on treatment, standing for End of Treatment; null: as recorded
-- column _source_file: File of the published record
-- column _source_row: Record in the file, from 1
select
    adsl.studyid,
    adsl.usubjid,
    try_cast(try_cast(advs.VSSEQ as double) as integer) as vsseq,
    adsl.trt01p,
    adsl.trt01a,
    advs.PARAMCD as paramcd,
    advs.PARAM as param,
    nullif(regexp_extract(advs.PARAM, '\((.*)\)$', 1), '') as unit,
    advs.ATPT as atpt,
    try_cast(advs.ATPTN as double) as atptn,
    advs.AVISIT as avisit,
    try_cast(advs.AVISITN as double) as avisitn,
    advs.VISIT as visit,
    try_cast(advs.VISITNUM as double) as visitnum,
    try_cast(advs.ADT as date) as adt,
    try_cast(advs.ADY as integer) as ady,
    try_cast(advs.AVAL as double) as aval,
    try_cast(advs.BASE as double) as base,
    try_cast(advs.CHG as double) as chg,
    try_cast(advs.PCHG as double) as pchg,
    advs.ABLFL as ablfl,
    case when advs.AVAL is not null then advs.ANL01FL end as anl01fl,
    case
        when try_cast(advs.ADY as integer) > 1 and try_cast(advs.VISITNUM as double) <= 13 then 'Y'
    end as ontrtfl,
    case when advs.AVISIT = 'End of Treatment' then 'LOV' end as dtype,
    adsl.saffl,
    advs._source_file,
    advs._source_row
from raw.advs as advs
inner join adam.adsl as adsl on advs.USUBJID = adsl.usubjid
order by adsl.usubjid, advs.PARAMCD, vsseq, dtype nulls first
