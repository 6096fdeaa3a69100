-- Vital signs with baseline, change and the records that analyses choose, each time point by itself.
-- Baseline: the record that the delivery flags, else the last result up to the day of the first dose.
-- On treatment: after the day of the first dose, up to a week after the last; where the study states its visits
-- on treatment (staging.treatment_visit), up to the last of them. The last result at a planned visit on treatment
-- stands once more as visit End of Treatment with dtype LOV: analyses of observed visits take dtype null.
-- grain: one row per usubjid, vsseq, dtype
-- unit: aval, base and chg in unit; ady in days
-- null: avisit is null where the record belongs to no planned visit, unscheduled ones among them; aval is null
--   where nothing was measured; atpt is null for what is measured once; the flags are Y or null
-- column studyid: Study identifier
-- column usubjid: Unique subject identifier
-- column vsseq: Sequence number of the record in sdtm.vs
-- column trt01p: Planned treatment
-- column trt01a: Actual treatment
-- column paramcd: Vital sign, short name
-- column param: Vital sign and unit
-- column unit: Unit
-- column atpt: Time point within the visit, else the position
-- column atptn: Time point, number
-- column avisit: Analysis visit
-- column avisitn: Analysis visit, number
-- column visit: Visit as recorded
-- column visitnum: Visit as recorded, number
-- column adt: Day of the measurement
-- column ady: Study day: 1 on the first day of treatment, -1 the day before
-- column aval: Result
-- column base: Result at baseline, of the same time point
-- column chg: Result minus baseline
-- column pchg: Change in percent of baseline
-- column ablfl: Y: this record is the baseline of its participant, vital sign and time point
-- column anl01fl: Y: the one record chosen for its participant, vital sign, time point and analysis visit, the
--   last of several
-- column ontrtfl: Y: on treatment
-- column dtype: LOV: the last value on treatment, standing for End of Treatment; null: as recorded
-- column saffl: Y: safety set
-- optional: staging.treatment_visit (domain varchar, first_visitnum double, last_visitnum double)
with
-- What a study need not deliver is null where it does not.
delivered as (
    select
        null::varchar as vstest,
        null::varchar as vspos,
        null::varchar as vstpt,
        null::double as vstptnum,
        null::varchar as vsstresu,
        null::varchar as vsblfl,
        null::varchar as visit,
        null::integer as vsdy
    where false
    union all by name
    select * from sdtm.vs
),

treatment_visit as (
    select first_visitnum, last_visitnum
    from staging.treatment_visit
    where domain = 'VS'
),

baseline_visit as (
    select avisit, avisitn
    from meta.visit
    where is_baseline
),

recorded as (
    select
        adsl.studyid,
        vs.usubjid,
        vs.vsseq,
        adsl.trt01p,
        adsl.trt01a,
        adsl.saffl,
        upper(vs.vstestcd) as paramcd,
        -- A result that was not obtained has no unit of its own, and the name of its test is one for all.
        coalesce(vs.vsstresu, max(vs.vsstresu) over (partition by vs.vstestcd)) as unit_of_test,
        coalesce(vs.vstest, vs.vstestcd) || coalesce(' (' || unit_of_test || ')', '') as param,
        vs.vsstresu as unit,
        coalesce(vs.vstpt, vs.vspos) as atpt,
        vs.vstptnum as atptn,
        vs.visit,
        vs.visitnum,
        try_cast(left(vs.vsdtc, 10) as date) as adt,
        date_diff('day', adsl.trtsdt, adt) as days_after_first_dose,
        coalesce(days_after_first_dose + (days_after_first_dose >= 0)::integer, vs.vsdy) as ady,
        vs.vsstresn as aval,
        upper(vs.vsblfl) = 'Y' and aval is not null as is_flagged,
        coalesce(planned.avisit, case
            when regexp_matches(upper(trim(vs.visit)), '^(DAY|WEEK|MONTH|YEAR|CYCLE) \d+$')
                then upper(left(trim(vs.visit), 1)) || lower(substr(trim(vs.visit), 2))
        end) as planned_avisit,
        coalesce(planned.avisitn, case
            when regexp_matches(upper(trim(vs.visit)), '^WEEK \d+$')
                then regexp_extract(vs.visit, '\d+')::double
            else vs.visitnum
        end) as planned_avisitn,
        case
            when ady <= 1 or ady is null then null
            when treatment_visit.last_visitnum is not null and vs.visitnum is not null
                then case when vs.visitnum <= treatment_visit.last_visitnum then 'Y' end
            -- The visit that ends the treatment is held after the last dose.
            when adsl.trtedt is null or adt <= adsl.trtedt + 7 then 'Y'
        end as ontrtfl,
        coalesce(vs.visitnum >= treatment_visit.first_visitnum, true) as may_end_treatment,
        vs._source_file,
        vs._source_row
    from delivered as vs
    inner join adam.adsl as adsl on vs.usubjid = adsl.usubjid
    left join treatment_visit on true
    left join meta.visit as planned
        on upper(trim(vs.visit)) = upper(planned.avisit) and not planned.is_baseline
),

candidate as (
    select
        *,
        case
            when coalesce(bool_or(is_flagged) over (partition by usubjid, paramcd, atpt), false) then is_flagged
            else aval is not null and ady <= 1
        end as may_be_baseline
    from recorded
),

with_baseline as (
    select
        *,
        case
            when
                may_be_baseline
                and row_number() over (
                    partition by usubjid, paramcd, atpt, may_be_baseline
                    order by adt desc nulls last, visitnum desc nulls last, vsseq desc, _source_file, _source_row
                ) = 1
                then 'Y'
        end as ablfl
    from candidate
),

baseline as (
    select usubjid, paramcd, atpt, unit, aval as base
    from with_baseline
    where ablfl = 'Y'
),

compared as (
    select
        result.* exclude (planned_avisit, planned_avisitn),
        case
            when result.ablfl = 'Y' then coalesce(baseline_visit.avisit, 'Baseline')
            when result.ady > 1 then result.planned_avisit
        end as avisit,
        case
            when result.ablfl = 'Y' then coalesce(baseline_visit.avisitn, 0)
            when result.ady > 1 and result.planned_avisit is not null then result.planned_avisitn
        end as avisitn,
        case when coalesce(baseline.unit = result.unit, true) then baseline.base end as base,
        result.aval - base as chg
    from with_baseline as result
    left join baseline
        on
            result.usubjid = baseline.usubjid
            and result.paramcd = baseline.paramcd
            and result.atpt is not distinct from baseline.atpt
    left join baseline_visit on true
),

flagged as (
    select
        *,
        case
            when
                avisit is not null and aval is not null
                and row_number() over (
                    partition by usubjid, paramcd, atpt, avisit, aval is not null
                    order by adt desc nulls last, visitnum desc nulls last, vsseq desc, _source_file, _source_row
                ) = 1
                then 'Y'
        end as anl01fl
    from compared
),

every as (
    select *, null::varchar as dtype
    from flagged
    union all by name
    select
        * replace ('End of Treatment' as avisit, 99 as avisitn, null as ablfl),
        'LOV' as dtype
    from flagged
    where anl01fl = 'Y' and ontrtfl = 'Y' and may_end_treatment
    qualify row_number() over (
        partition by usubjid, paramcd, atpt order by adt desc, visitnum desc nulls last
    ) = 1
)

select
    studyid,
    usubjid,
    vsseq,
    trt01p,
    trt01a,
    paramcd,
    param,
    unit,
    atpt,
    atptn,
    avisit,
    avisitn,
    visit,
    visitnum,
    adt,
    ady,
    aval,
    base,
    chg,
    -- Null, not infinite, when the baseline is zero: a percent change is then undefined.
    100 * chg / nullif(base, 0) as pchg,
    ablfl,
    anl01fl,
    ontrtfl,
    dtype,
    saffl,
    _source_file,
    _source_row
from every
order by usubjid, paramcd, vsseq, dtype nulls first
