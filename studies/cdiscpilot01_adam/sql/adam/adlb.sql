-- Laboratory results as published in ADLBC and ADLBH, in the columns of the house.
-- Results, baseline and visits are the published ones. The dates of these two files lie ten years and a day
-- late, TRTSDT among them: counted from another epoch. The day of a specimen is therefore the first day of
-- treatment in adam.adsl plus the published distance from TRTSDT. The indicator is LBNRIND: the published ANRIND
-- compares with 1.5 times the upper and half the lower limit, which r2anrhi and r2anrlo tell too; the published
-- ANL01FL marks the result farthest from those, here it marks the record of a visit. No grades were published.
-- grain: one row per usubjid, paramcd, lbseq, dtype
-- unit: aval, base, chg, anrlo and anrhi in unit; ady in days; r2anrlo and r2anrhi are ratios
-- null: avisit for unscheduled visits; aval where the result is missing; atoxgr, atoxgrn, btoxgr and btoxgrn
--   throughout; the flags are Y or null
-- replaces: the published analysis data take the place of derivation
-- column trt01p: Planned treatment
-- column trt01a: Actual treatment
-- column parcat1: CHEMISTRY or HEMATOLOGY
-- column unit: Unit, from the name of the parameter
-- column anl01fl: Y: the one record of its participant, test and analysis visit
-- column anl02fl: Y: the highest result on treatment, unscheduled ones included; the first of equals
-- column anl03fl: Y: the lowest result on treatment, likewise
-- column ontrtfl: Y: on treatment: after the first day, up to the visit of week 24
-- column dtype: LOV: the last value on treatment, standing for End of Treatment; null: as recorded
-- column _source_file: File of the published record
-- column _source_row: Record in the file, from 1
with
published as (
    select * from raw.adlbc
    union all by name
    select * from raw.adlbh
),

typed as (
    select
        adsl.studyid,
        adsl.usubjid,
        try_cast(try_cast(published.LBSEQ as double) as integer) as lbseq,
        adsl.trt01p,
        adsl.trt01a,
        published.PARAMCD as paramcd,
        published.PARAM as param,
        case published.PARCAT1 when 'CHEM' then 'CHEMISTRY' else 'HEMATOLOGY' end as parcat1,
        nullif(regexp_extract(published.PARAM, '\((.*)\)$', 1), '') as unit,
        published.AVISIT as avisit,
        try_cast(published.AVISITN as double) as avisitn,
        published.VISIT as visit,
        try_cast(published.VISITNUM as double) as visitnum,
        adsl.trtsdt + date_diff('day', try_cast(published.TRTSDT as date), try_cast(published.ADT as date))::integer
            as adt,
        try_cast(published.ADY as integer) as ady,
        try_cast(published.AVAL as double) as aval,
        published.AVAL as avalc,
        try_cast(published.BASE as double) as base,
        try_cast(published.A1LO as double) as anrlo,
        try_cast(published.A1HI as double) as anrhi,
        published.LBNRIND as anrind,
        max(case when published.ABLFL = 'Y' then published.LBNRIND end)
            over (partition by adsl.usubjid, published.PARAMCD) as bnrind,
        published.ABLFL as ablfl,
        case when published.AVISIT = 'End of Treatment' then 'LOV' end as dtype,
        adsl.saffl,
        published._source_file,
        published._source_row
    from published
    inner join adam.adsl as adsl on published.USUBJID = adsl.usubjid
),

recorded as (
    select *, aval - base as chg, case when ady > 1 and visitnum <= 12 then 'Y' end as ontrtfl
    from typed
),

ranked as (
    select
        *,
        ontrtfl = 'Y' and dtype is null and aval is not null as is_ranked,
        row_number() over (
            partition by usubjid, paramcd, is_ranked order by aval desc, adt, lbseq
        ) as from_highest,
        row_number() over (
            partition by usubjid, paramcd, is_ranked order by aval, adt, lbseq
        ) as from_lowest
    from recorded
)

select
    studyid,
    usubjid,
    lbseq,
    trt01p,
    trt01a,
    paramcd,
    param,
    parcat1,
    unit,
    avisit,
    avisitn,
    visit,
    visitnum,
    adt,
    ady,
    aval,
    avalc,
    base,
    chg,
    100 * chg / nullif(base, 0) as pchg,
    anrlo,
    anrhi,
    aval / nullif(anrlo, 0) as r2anrlo,
    aval / nullif(anrhi, 0) as r2anrhi,
    anrind,
    bnrind,
    case when ady > 1 then bnrind || ' to ' || anrind end as shift1,
    null::varchar as atoxgr,
    null::integer as atoxgrn,
    null::varchar as btoxgr,
    null::integer as btoxgrn,
    ablfl,
    case when avisit is not null and aval is not null then 'Y' end as anl01fl,
    case when is_ranked and from_highest = 1 then 'Y' end as anl02fl,
    case when is_ranked and from_lowest = 1 then 'Y' end as anl03fl,
    ontrtfl,
    dtype,
    saffl,
    _source_file,
    _source_row
from ranked
order by usubjid, paramcd, lbseq, dtype nulls first
