-- Laboratory results with baseline, change, range indicator, toxicity grade and the records that analyses choose.
-- Baseline: the record that the delivery flags, else the last result up to the day of the first dose.
-- On treatment: after the day of the first dose, up to a week after the last; where the study states its visits
-- on treatment (staging.treatment_visit), up to the last of them. The last result at a planned visit on treatment
-- stands once more as visit End of Treatment with dtype LOV: analyses of observed visits take dtype null.
-- grain: one row per usubjid, lbseq, dtype
-- unit: aval, base, chg, anrlo and anrhi in unit; ady in days; r2anrlo and r2anrhi are ratios
-- null: avisit is null where the record belongs to no planned visit, unscheduled ones among them; aval is null
--   where the result is text; base is null without a baseline in the same unit; atoxgr is null where CTCAE has no
--   criterion for the test or the limit it needs is unknown; the flags are Y or null
-- column studyid: Study identifier
-- column usubjid: Unique subject identifier
-- column lbseq: Sequence number of the record in sdtm.lb
-- column trt01p: Planned treatment
-- column trt01a: Actual treatment
-- column paramcd: Laboratory test, short name
-- column param: Laboratory test and unit
-- column parcat1: Category of the test
-- column unit: Unit
-- column avisit: Analysis visit
-- column avisitn: Analysis visit, number
-- column visit: Visit as recorded
-- column visitnum: Visit as recorded, number
-- column adt: Day of the specimen
-- column ady: Study day: 1 on the first day of treatment, -1 the day before
-- column aval: Result
-- column avalc: Result as text
-- column base: Result at baseline
-- column chg: Result minus baseline
-- column pchg: Change in percent of baseline
-- column anrlo: Lower limit of normal
-- column anrhi: Upper limit of normal
-- column r2anrlo: Result divided by the lower limit of normal
-- column r2anrhi: Result divided by the upper limit of normal
-- column anrind: LOW, NORMAL, HIGH or ABNORMAL, as delivered, else from the limits
-- column bnrind: The same at baseline
-- column shift1: From the indicator at baseline to that of the record
-- column atoxgr: Toxicity grade by CTCAE 5.0, as text: a minus means that the result is too low; 0 no toxicity
-- column atoxgrn: Toxicity grade, number, signed like atoxgr
-- column btoxgr: Toxicity grade at baseline, as text
-- column btoxgrn: Toxicity grade at baseline, number
-- column ablfl: Y: this record is the baseline of its participant and test
-- column anl01fl: Y: the one record chosen for its participant, test and analysis visit, the last of several
-- column anl02fl: Y: the highest result on treatment, unscheduled ones included; the first of equals
-- column anl03fl: Y: the lowest result on treatment, likewise
-- column ontrtfl: Y: on treatment
-- column dtype: LOV: the last value on treatment, standing for End of Treatment; null: as recorded
-- column saffl: Y: safety set
-- optional: staging.treatment_visit (domain varchar, first_visitnum double, last_visitnum double)
with
-- What a study need not deliver is null where it does not.
delivered as (
    select
        null::varchar as studyid,
        null::varchar as lbtest,
        null::varchar as lbcat,
        null::varchar as lbstresc,
        null::varchar as lbstresu,
        null::double as lbstnrlo,
        null::double as lbstnrhi,
        null::varchar as lbnrind,
        null::varchar as lbblfl,
        null::varchar as visit,
        null::integer as lbdy
    where false
    union all by name
    select * from sdtm.lb
),

treatment_visit as (
    select first_visitnum, last_visitnum
    from staging.treatment_visit
    where domain = 'LB'
),

baseline_visit as (
    select avisit, avisitn
    from meta.visit
    where is_baseline
),

recorded as (
    select
        row_number() over () as record,
        adsl.studyid,
        lb.usubjid,
        lb.lbseq,
        adsl.trt01p,
        adsl.trt01a,
        adsl.saffl,
        upper(lb.lbtestcd) as paramcd,
        -- A result that was not obtained has no unit of its own, and the name of its test is one for all.
        coalesce(lb.lbstresu, max(lb.lbstresu) over (partition by lb.lbtestcd)) as unit_of_test,
        coalesce(lb.lbtest, lb.lbtestcd) || coalesce(' (' || unit_of_test || ')', '') as param,
        lb.lbcat as parcat1,
        lb.lbstresu as unit,
        lb.visit,
        lb.visitnum,
        try_cast(left(lb.lbdtc, 10) as date) as adt,
        date_diff('day', adsl.trtsdt, adt) as days_after_first_dose,
        coalesce(days_after_first_dose + (days_after_first_dose >= 0)::integer, lb.lbdy) as ady,
        lb.lbstresn as aval,
        coalesce(lb.lbstresc, lb.lborres) as avalc,
        aval is not null or avalc is not null as has_result,
        lb.lbstnrlo as anrlo,
        lb.lbstnrhi as anrhi,
        -- Limits and results are decimal numbers kept in binary: equal is within rounding.
        case
            when upper(lb.lbnrind) in ('N', 'NORMAL') then 'NORMAL'
            when upper(lb.lbnrind) in ('L', 'LL', 'LOW', 'LOW LOW') then 'LOW'
            when upper(lb.lbnrind) in ('H', 'HH', 'HIGH', 'HIGH HIGH') then 'HIGH'
            when upper(lb.lbnrind) in ('A', 'ABNORMAL') then 'ABNORMAL'
            when aval > anrhi + 1e-9 * abs(anrhi) then 'HIGH'
            when aval < anrlo - 1e-9 * abs(anrlo) then 'LOW'
            when aval is not null and (anrlo is not null or anrhi is not null) then 'NORMAL'
        end as anrind,
        upper(lb.lbblfl) = 'Y' and has_result as is_flagged,
        coalesce(planned.avisit, case
            when regexp_matches(upper(trim(lb.visit)), '^(DAY|WEEK|MONTH|YEAR|CYCLE) \d+$')
                then upper(left(trim(lb.visit), 1)) || lower(substr(trim(lb.visit), 2))
        end) as planned_avisit,
        coalesce(planned.avisitn, case
            when regexp_matches(upper(trim(lb.visit)), '^WEEK \d+$')
                then regexp_extract(lb.visit, '\d+')::double
            else lb.visitnum
        end) as planned_avisitn,
        case
            when ady <= 1 or ady is null then null
            when treatment_visit.last_visitnum is not null and lb.visitnum is not null
                then case when lb.visitnum <= treatment_visit.last_visitnum then 'Y' end
            -- The visit that ends the treatment is held after the last dose.
            when adsl.trtedt is null or adt <= adsl.trtedt + 7 then 'Y'
        end as ontrtfl,
        coalesce(lb.visitnum >= treatment_visit.first_visitnum, true) as may_end_treatment,
        lb._source_file,
        lb._source_row
    from delivered as lb
    inner join adam.adsl as adsl on lb.usubjid = adsl.usubjid
    left join treatment_visit on true
    left join meta.visit as planned
        on upper(trim(lb.visit)) = upper(planned.avisit) and not planned.is_baseline
),

candidate as (
    select
        *,
        case
            when coalesce(bool_or(is_flagged) over (partition by usubjid, paramcd, parcat1), false)
                then is_flagged
            else has_result and ady <= 1
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
                    partition by usubjid, paramcd, parcat1, may_be_baseline
                    order by adt desc nulls last, visitnum desc nulls last, lbseq desc, _source_file, _source_row
                ) = 1
                then 'Y'
        end as ablfl
    from candidate
),

baseline as (
    select usubjid, paramcd, parcat1, unit, record, aval as base, anrind as bnrind
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
        baseline.record as baseline_record,
        case when coalesce(baseline.unit = result.unit, true) then baseline.base end as base,
        baseline.bnrind,
        case
            when result.unit in ('10^9/L', 'GI/L', '10*9/L', 'x10^9/L', '10E9/L', '10^3/uL', '10*3/uL', 'K/uL')
                then '10^9/L'
            when result.paramcd in ('K', 'SODIUM') and result.unit = 'mEq/L' then 'mmol/L'
            else result.unit
        end as rule_unit
    from with_baseline as result
    left join baseline
        on
            result.usubjid = baseline.usubjid
            and result.paramcd = baseline.paramcd
            and result.parcat1 is not distinct from baseline.parcat1
    left join baseline_visit on true
),

-- A test whose unit the rules do not know is not graded, not graded in part.
gradable as (
    select paramcd, coalesce(list(distinct unit) filter (where unit is not null), []) as units
    from adam.toxicity_grade_rule
    group by paramcd
),

-- Up to baseline a result is judged by the limits of normal alone.
judged as (
    select
        result.record,
        result.aval,
        rule.direction,
        rule.grade,
        case rule.relative_to
            when 'ULN' then rule.threshold * result.anrhi
            when 'LLN' then rule.threshold * result.anrlo
            when 'baseline' then rule.threshold * result.base
            else rule.threshold
        end as limit_value,
        -- Limits converted to another unit are rounded: a result delivered as normal does not exceed its limit.
        case rule.direction
            when 'HIGH' then result.aval > limit_value + 1e-9 * abs(limit_value)
            else result.aval < limit_value - 1e-9 * abs(limit_value)
        end
        and coalesce(
            result.anrind != 'NORMAL' or rule.relative_to not in ('ULN', 'LLN') or rule.threshold != 1, true
        ) as is_met
    from compared as result
    inner join gradable
        on
            result.paramcd = gradable.paramcd
            and (len(gradable.units) = 0 or list_contains(gradable.units, result.rule_unit))
    inner join adam.toxicity_grade_rule as rule
        on
            result.paramcd = rule.paramcd
            and result.aval is not null
            and (rule.unit is null or rule.unit = result.rule_unit)
            and case rule.baseline_state
                when 'normal' then coalesce(result.base <= result.anrhi or result.ady <= 1, true)
                when 'abnormal' then result.base > result.anrhi and result.ady > 1
                when 'above baseline' then coalesce(result.aval > result.base or result.ady <= 1, true)
                else rule.relative_to != 'baseline' or (result.base is not null and result.ady > 1)
            end
),

graded as (
    select
        record,
        max(grade) filter (where is_met and direction = 'HIGH') as high,
        max(grade) filter (where is_met and direction = 'LOW') as low,
        -- No toxicity is said only where every criterion could be looked at.
        coalesce(high, -low, case when bool_and(limit_value is not null) then 0 end) as atoxgrn
    from judged
    group by record
),

flagged as (
    select
        compared.*,
        compared.aval - compared.base as chg,
        case when compared.ady > 1 then compared.bnrind || ' to ' || compared.anrind end as shift1,
        graded.atoxgrn,
        at_baseline.atoxgrn as btoxgrn,
        case
            when
                avisit is not null and has_result
                and row_number() over (
                    partition by usubjid, paramcd, parcat1, avisit, has_result
                    order by adt desc nulls last, visitnum desc nulls last, lbseq desc, _source_file, _source_row
                ) = 1
                then 'Y'
        end as anl01fl,
        coalesce(ontrtfl = 'Y' and aval is not null, false) as is_ranked,
        case
            when
                is_ranked
                and row_number() over (
                    partition by usubjid, paramcd, parcat1, is_ranked order by aval desc, adt, lbseq
                ) = 1
                then 'Y'
        end as anl02fl,
        case
            when
                is_ranked
                and row_number() over (
                    partition by usubjid, paramcd, parcat1, is_ranked order by aval, adt, lbseq
                ) = 1
                then 'Y'
        end as anl03fl
    from compared
    left join graded on compared.record = graded.record
    left join graded as at_baseline on compared.baseline_record = at_baseline.record
),

every as (
    select *, null::varchar as dtype
    from flagged
    union all by name
    select
        * replace (
            'End of Treatment' as avisit,
            99 as avisitn,
            null as ablfl,
            null as anl02fl,
            null as anl03fl
        ),
        'LOV' as dtype
    from flagged
    where anl01fl = 'Y' and ontrtfl = 'Y' and may_end_treatment
    qualify row_number() over (
        partition by usubjid, paramcd, parcat1 order by adt desc, visitnum desc nulls last
    ) = 1
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
    -- Null, not infinite, when the baseline is zero: a percent change is then undefined.
    100 * chg / nullif(base, 0) as pchg,
    anrlo,
    anrhi,
    aval / nullif(anrlo, 0) as r2anrlo,
    aval / nullif(anrhi, 0) as r2anrhi,
    anrind,
    bnrind,
    shift1,
    atoxgrn::varchar as atoxgr,
    atoxgrn,
    btoxgrn::varchar as btoxgr,
    btoxgrn,
    ablfl,
    anl01fl,
    anl02fl,
    anl03fl,
    ontrtfl,
    dtype,
    saffl,
    _source_file,
    _source_row
from every
order by usubjid, paramcd, lbseq, dtype nulls first
