-- Every recorded value of the study's scores, with its analysis visit, baseline and change.
-- grain: one row per usubjid, qsseq
-- unit: aval, base and chg in the unit of the score; pchg in percent of base; ady, awtarget, awlo, awhi
--   and awtdiff in days
-- null: avisit is null where the record belongs to no planned visit; base is null where no baseline was
--   recorded; pchg is null where base is zero; anl01fl and ablfl are null on records not chosen
-- column studyid: Study identifier
-- column usubjid: Unique subject identifier
-- column qsseq: Sequence number of the record in sdtm.qs
-- column trt01p: Planned treatment
-- column trt01a: Actual treatment
-- column paramcd: Score, short name
-- column param: Score
-- column unit: Unit of the score
-- column avisit: Analysis visit
-- column avisitn: Analysis visit, number
-- column visit: Visit as recorded
-- column visitnum: Visit as recorded, number
-- column adt: Day of the assessment
-- column ady: Study day: 1 on the first day of treatment, -1 the day before
-- column aval: Value of the score
-- column base: Value at baseline
-- column chg: Value minus baseline: positive is higher after, whichever direction is better
-- column pchg: Change in percent of baseline
-- column ablfl: Y: this record is the baseline of its participant and score
-- column anl01fl: Y: the one record chosen for its participant, score and analysis visit
-- column dtype: How the value was derived: null, for every value here was observed
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
-- A record of somebody unknown to sdtm.dm is kept, for a gate to see; a screen failure has no analysis row.
recorded as (
    select
        row_number() over () as record,
        qs.studyid,
        qs.usubjid,
        qs.qsseq,
        adsl.usubjid is not null as is_enrolled,
        adsl.trt01p,
        adsl.trt01a,
        adsl.saffl,
        adsl.fasfl,
        score.*,
        qs.visit,
        qs.visitnum,
        qs.qsstresn as aval,
        try_cast(left(qs.qsdtc, 10) as date) as adt,
        date_diff('day', adsl.trtsdt, adt) as days_after_first_dose,
        coalesce(days_after_first_dose + (days_after_first_dose >= 0)::integer, qs.qsdy) as ady,
        qs._source_file,
        qs._source_row
    from sdtm.qs
    inner join meta.score as score on upper(qs.qstestcd) = score.paramcd
    left join adam.adsl on qs.usubjid = adsl.usubjid
    where
        adsl.usubjid is not null
        or not exists (from sdtm.dm where dm.usubjid = qs.usubjid)
),

-- There is no day 0: days are counted without the gap before their distance is taken.
planned as (
    select *, target_day - (target_day > 0)::integer as target_index
    from meta.visit
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
        abs(recorded.ady - (recorded.ady > 0)::integer - planned.target_index) as awtdiff,
        recorded.ady between planned.window_start_day and planned.window_end_day as is_in_window,
        study.visit_assignment
    from recorded
    cross join meta.study as study
    left join planned
        on
            case study.visit_assignment
                when 'window' then recorded.ady between planned.window_start_day and planned.window_end_day
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
        -- By window, baseline is the last value up to the day of the first dose; by name, the value that
        -- stands for the baseline visit.
        case
            when
                visit_assignment = 'window' and is_enrolled and aval is not null and ady <= 1
                and row_number() over (
                    partition by usubjid, paramcd, aval is not null and ady <= 1
                    order by ady desc, qsseq desc, _source_file, _source_row
                ) = 1
                then 'Y'
            when visit_assignment = 'nominal' and is_baseline_visit then anl01fl
        end as ablfl
    from assigned
),

baseline as (
    select usubjid, paramcd, aval as base
    from chosen
    where ablfl = 'Y'
)

select
    chosen.studyid,
    chosen.usubjid,
    chosen.qsseq,
    chosen.trt01p,
    chosen.trt01a,
    chosen.paramcd,
    chosen.param,
    chosen.unit,
    chosen.avisit,
    chosen.avisitn,
    chosen.visit,
    chosen.visitnum,
    chosen.adt,
    chosen.ady,
    chosen.aval,
    baseline.base,
    chosen.aval - baseline.base as chg,
    -- Null, not infinite, when the baseline is zero: a percent change is then undefined.
    100 * chg / nullif(baseline.base, 0) as pchg,
    chosen.ablfl,
    chosen.anl01fl,
    null::varchar as dtype,
    chosen.awtarget,
    chosen.awlo,
    chosen.awhi,
    chosen.awtdiff,
    chosen.is_in_window,
    chosen.range_low,
    chosen.range_high,
    chosen.saffl,
    chosen.fasfl,
    chosen._source_file,
    chosen._source_row
from chosen
left join baseline on chosen.usubjid = baseline.usubjid and chosen.paramcd = baseline.paramcd
order by chosen.usubjid, chosen.paramcd, chosen.qsseq, chosen._source_file, chosen._source_row
