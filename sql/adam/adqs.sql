-- Every value of the study's scores, recorded or computed from its items, with its analysis visit, baseline and
-- change; beside them, where a planned visit has none, what stands in for it: DTYPE LOCF (the last value after
-- baseline), BOCF (the baseline value) and NRI (no value: not a responder).
-- grain: one row per usubjid, paramcd, avisit, qsseq, dtype
-- unit: aval, base and chg in the unit of the score; pchg in percent of base; ady, awtarget, awlo, awhi
--   and awtdiff in days
-- null: avisit is null where the record belongs to no planned visit; base is null where no baseline was
--   recorded; pchg is null where base is zero; anl01fl and ablfl are null on records not chosen; paramtyp and
--   dtype are null for what was recorded; qsseq is null for a value computed here and for NRI
-- optional: adam.score_total (studyid varchar, usubjid varchar, paramcd varchar, visit varchar, visitnum double,
--   qsdtc varchar, qsdy bigint, avisit varchar, aval double, is_delivered boolean, _source_file varchar,
--   _source_row bigint)
-- column studyid: Study identifier
-- column usubjid: Unique subject identifier
-- column qsseq: Sequence number of the record in sdtm.qs; of the record carried on for LOCF and BOCF
-- column trt01p: Planned treatment
-- column trt01a: Actual treatment
-- column paramcd: Score, short name
-- column param: Score
-- column paramtyp: DERIVED: computed here from its items by adam.score_rule
-- column unit: Unit of the score
-- column avisit: Analysis visit
-- column avisitn: Analysis visit, number
-- column visit: Visit as recorded
-- column visitnum: Visit as recorded, number
-- column adt: Day of the assessment; of the one carried on for LOCF and BOCF
-- column ady: Study day: 1 on the first day of treatment, -1 the day before
-- column aval: Value of the score
-- column base: Value at baseline
-- column chg: Value minus baseline: positive is higher after, whichever direction is better
-- column pchg: Change in percent of baseline
-- column ablfl: Y: this record is the baseline of its participant and score
-- column anl01fl: Y: the one record chosen for its participant, score and analysis visit
-- column dtype: What stands in for a value not observed: LOCF, BOCF or NRI; null for an observed one
-- column awtarget: Planned day of the analysis visit
-- column awlo: First day of its window
-- column awhi: Last day of its window
-- column awtdiff: Days between the assessment and the planned day
-- column is_in_window: The assessment lies in the window of its analysis visit
-- column range_low: Lowest value the score can take
-- column range_high: Highest value the score can take
-- column saffl: Y: safety set
-- column fasfl: Y: full analysis set
-- column _source_file: File of the record
-- column _source_row: Row of the record
with
-- A total that was delivered is not computed again.
value as (
    select
        qs.studyid,
        qs.usubjid,
        qs.qsseq,
        upper(qs.qstestcd) as paramcd,
        null::varchar as paramtyp,
        qs.visit,
        qs.visitnum,
        qs.qsstresn as aval,
        qs.qsdtc,
        qs.qsdy,
        null::varchar as own_avisit,
        qs._source_file,
        qs._source_row
    from sdtm.qs
    union all
    select
        studyid,
        usubjid,
        null,
        paramcd,
        'DERIVED',
        visit,
        visitnum,
        aval,
        qsdtc,
        qsdy,
        avisit,
        _source_file,
        _source_row
    from adam.score_total
    where not is_delivered
),

-- A record of somebody unknown to sdtm.dm is kept, for a gate to see; a screen failure has no analysis row.
recorded as (
    select
        row_number() over () as record,
        value.* exclude (paramcd),
        adsl.usubjid is not null as is_enrolled,
        adsl.trt01p,
        adsl.trt01a,
        adsl.saffl,
        adsl.fasfl,
        score.*,
        try_cast(left(value.qsdtc, 10) as date) as adt,
        date_diff('day', adsl.trtsdt, adt) as days_after_first_dose,
        coalesce(days_after_first_dose + (days_after_first_dose >= 0)::integer, value.qsdy) as ady
    from value
    inner join meta.score as score on value.paramcd = score.paramcd
    left join adam.adsl on value.usubjid = adsl.usubjid
    where
        adsl.usubjid is not null
        or not exists (from sdtm.dm where dm.usubjid = value.usubjid)
),

-- There is no day 0: days are counted without the gap before their distance is taken.
planned as (
    select *, target_day - (target_day > 0)::integer as target_index
    from meta.score_visit
),

assigned as (
    select
        recorded.*,
        planned.avisit,
        planned.avisitn,
        coalesce(planned.is_baseline, false) as is_baseline_visit,
        planned.target_day as awtarget,
        planned.window_start_day as awlo,
        planned.window_end_day as awhi,
        -- A mean over the window has no day of its own.
        case
            when recorded.own_avisit is null
                then abs(recorded.ady - (recorded.ady > 0)::integer - planned.target_index)
        end as awtdiff,
        case
            when recorded.own_avisit is not null then true
            else recorded.ady between planned.window_start_day and planned.window_end_day
        end as is_in_window,
        study.visit_assignment
    from recorded
    cross join meta.study as study
    left join planned
        on
            recorded.paramcd = planned.paramcd
            and case
                when recorded.own_avisit is not null then recorded.own_avisit = planned.avisit
                when study.visit_assignment = 'window'
                    then recorded.ady between planned.window_start_day and planned.window_end_day
                else upper(trim(recorded.visit)) = upper(planned.avisit)
            end
    -- Where windows overlap, the nearer planned day takes the record.
    qualify row_number() over (partition by recorded.record order by awtdiff, planned.avisitn) = 1
),

chosen as (
    select
        *,
        case
            when
                is_enrolled and avisit is not null and aval is not null
                and row_number() over (
                    partition by usubjid, paramcd, avisit, aval is not null
                    order by awtdiff nulls last, adt desc nulls last, qsseq desc, _source_file, _source_row
                ) = 1
                then 'Y'
        end as anl01fl,
        -- By window, baseline is the last value up to the day of the first dose; by name, and for a mean over
        -- the window, the value that stands for the baseline visit.
        case
            when own_avisit is not null or visit_assignment = 'nominal'
                then if(is_baseline_visit, anl01fl, null)
            when
                is_enrolled and aval is not null and ady <= 1
                and row_number() over (
                    partition by usubjid, paramcd, aval is not null and ady <= 1
                    order by ady desc, qsseq desc, _source_file, _source_row
                ) = 1
                then 'Y'
        end as ablfl
    from assigned
),

baseline as (
    select *
    from chosen
    where ablfl = 'Y'
),

-- A score that nobody has a baseline of measures change by itself.
measured_from_baseline as (
    select distinct paramcd
    from baseline
),

-- A visit is missed once its window has passed: at the latest when the participant has left the study.
missed as (
    select
        adsl.studyid,
        adsl.usubjid,
        adsl.trt01p,
        adsl.trt01a,
        adsl.saffl,
        adsl.fasfl,
        score.*,
        planned.avisit,
        planned.avisitn,
        planned.target_day as awtarget,
        planned.window_start_day as awlo,
        planned.window_end_day as awhi
    from adam.adsl
    cross join meta.score as score
    inner join planned on score.paramcd = planned.paramcd and not planned.is_baseline
    left join baseline on adsl.usubjid = baseline.usubjid and score.paramcd = baseline.paramcd
    left join (
        select usubjid, max(ady) as last_day
        from assigned
        group by usubjid
    ) as seen on adsl.usubjid = seen.usubjid
    where
        adsl.fasfl = 'Y'
        and (baseline.usubjid is not null or score.paramcd not in (from measured_from_baseline))
        and (adsl.eosstt != 'ONGOING' or planned.window_end_day < seen.last_day)
        and not exists (
            from chosen
            where
                chosen.anl01fl = 'Y'
                and chosen.usubjid = adsl.usubjid
                and chosen.paramcd = score.paramcd
                and chosen.avisit = planned.avisit
        )
),

carried as (
    select missed.*, 'LOCF' as dtype, last_value.* exclude (usubjid, paramcd, avisitn)
    from missed
    inner join (
        select
            usubjid,
            paramcd,
            avisitn,
            qsseq,
            paramtyp,
            visit,
            visitnum,
            adt,
            ady,
            aval,
            _source_file,
            _source_row
        from chosen
        where anl01fl = 'Y' and not is_baseline_visit
    ) as last_value
        on
            missed.usubjid = last_value.usubjid
            and missed.paramcd = last_value.paramcd
            and last_value.avisitn < missed.avisitn
    qualify
        row_number() over (
            partition by missed.usubjid, missed.paramcd, missed.avisitn
            order by last_value.avisitn desc
        ) = 1
    union all by name
    select
        missed.*,
        'BOCF' as dtype,
        baseline.qsseq,
        baseline.paramtyp,
        baseline.visit,
        baseline.visitnum,
        baseline.adt,
        baseline.ady,
        baseline.aval,
        baseline._source_file,
        baseline._source_row
    from missed
    inner join baseline on missed.usubjid = baseline.usubjid and missed.paramcd = baseline.paramcd
    union all by name
    select missed.*, 'NRI' as dtype
    from missed
),

every as (
    select *, null::varchar as dtype
    from chosen
    union all by name
    select *, 'Y' as anl01fl
    from carried
)

select
    every.studyid,
    every.usubjid,
    every.qsseq,
    every.trt01p,
    every.trt01a,
    every.paramcd,
    every.param,
    every.paramtyp,
    every.unit,
    every.avisit,
    every.avisitn,
    every.visit,
    every.visitnum,
    every.adt,
    every.ady,
    every.aval,
    baseline.aval as base,
    every.aval - baseline.aval as chg,
    -- Null, not infinite, when the baseline is zero: a percent change is then undefined.
    100 * chg / nullif(baseline.aval, 0) as pchg,
    every.ablfl,
    every.anl01fl,
    every.dtype,
    every.awtarget,
    every.awlo,
    every.awhi,
    every.awtdiff,
    every.is_in_window,
    every.range_low,
    every.range_high,
    every.saffl,
    every.fasfl,
    every._source_file,
    every._source_row
from every
left join baseline on every.usubjid = baseline.usubjid and every.paramcd = baseline.paramcd
order by
    every.usubjid,
    every.paramcd,
    every.qsseq,
    every.avisitn,
    every.dtype nulls first,
    every._source_file,
    every._source_row
