-- Scores as published in ADADAS, ADCIBC and ADNPIX, in the columns of the house.
-- Records, baseline, choice and DTYPE LOCF are the published ones. CIBICVAL is called CIBIC, as in the tabulations. The
-- mean NPI-X total, DTYPE AVERAGE in ADNPIX, is a parameter computed from others: paramtyp DERIVED.
-- grain: one row per usubjid, paramcd, avisit, qsseq, dtype
-- unit: aval, base and chg in the unit of the score; pchg in percent of base; ady, awtarget, awlo, awhi and
--   awtdiff in days
-- null: base is null for the CIBIC, which has none; awlo and awhi where a window is open; adt where a value is a mean
-- replaces: the published analysis data take the place of derivation
-- column _source_file: File of the published record
-- column _source_row: Record in the file, from 1
with
published as (
    select
        STUDYID, USUBJID, PARAMCD, PARAM, null::varchar as PARAMTYP, AVISIT, AVISITN, VISIT, VISITNUM, ADT, ADY,
        AVAL, BASE, CHG, PCHG, ABLFL, ANL01FL, DTYPE, AWTARGET, AWTDIFF, AWLO, AWHI, QSSEQ, _source_file, _source_row
    from raw.adadas
    union all
    select
        STUDYID, USUBJID, 'CIBIC' as PARAMCD, PARAM, null as PARAMTYP, AVISIT, AVISITN, VISIT, VISITNUM, ADT, ADY,
        AVAL, null as BASE, null as CHG, null as PCHG, null as ABLFL, ANL01FL, DTYPE, AWTARGET, AWTDIFF, AWLO, AWHI,
        QSSEQ, _source_file, _source_row
    from raw.adcibc
    union all
    select
        STUDYID, USUBJID, PARAMCD, PARAM, PARAMTYP, AVISIT, AVISITN, VISIT, VISITNUM, ADT, ADY,
        AVAL, BASE, CHG, PCHG, ABLFL, ANL01FL, nullif(DTYPE, 'AVERAGE') as DTYPE, AWTARGET, AWTDIFF, AWLO, AWHI,
        QSSEQ, _source_file, _source_row
    from raw.adnpix
),

typed as (
    select
        adsl.studyid,
        adsl.usubjid,
        try_cast(try_cast(published.QSSEQ as double) as integer) as qsseq,
        adsl.trt01p,
        adsl.trt01a,
        published.PARAMCD as paramcd,
        published.PARAM as param,
        published.PARAMTYP as paramtyp,
        score.unit,
        published.AVISIT as avisit,
        try_cast(published.AVISITN as double) as avisitn,
        published.VISIT as visit,
        try_cast(published.VISITNUM as double) as visitnum,
        try_cast(published.ADT as date) as adt,
        try_cast(published.ADY as integer) as ady,
        try_cast(published.AVAL as double) as aval,
        try_cast(published.BASE as double) as base,
        try_cast(published.CHG as double) as published_chg,
        try_cast(published.PCHG as double) as published_pchg,
        published.ABLFL as ablfl,
        published.ANL01FL as anl01fl,
        published.DTYPE as dtype,
        try_cast(published.AWTARGET as integer) as awtarget,
        try_cast(published.AWLO as integer) as awlo,
        try_cast(published.AWHI as integer) as awhi,
        try_cast(published.AWTDIFF as integer) as awtdiff,
        score.range_low,
        score.range_high,
        adsl.saffl,
        adsl.fasfl,
        published._source_file,
        published._source_row
    from published
    inner join adam.adsl as adsl on published.USUBJID = adsl.usubjid
    left join meta.score as score on published.PARAMCD = score.paramcd
)

select
    * exclude (
        published_chg, published_pchg, ablfl, anl01fl, dtype, awtarget, awlo, awhi, awtdiff, range_low, range_high,
        saffl, fasfl, _source_file, _source_row
    ),
    -- The published change is kept where it was published, and computed where it was not: at baseline.
    coalesce(published_chg, aval - base) as chg,
    coalesce(published_pchg, 100 * (aval - base) / nullif(base, 0)) as pchg,
    ablfl,
    anl01fl,
    dtype,
    awtarget,
    awlo,
    awhi,
    awtdiff,
    case
        when dtype is null and awtarget is not null then coalesce(ady >= awlo, true) and coalesce(ady <= awhi, true)
    end as is_in_window,
    range_low,
    range_high,
    saffl,
    fasfl,
    _source_file,
    _source_row
from typed
order by usubjid, paramcd, qsseq, avisitn, dtype nulls first
