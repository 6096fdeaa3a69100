-- Exposure of everybody who was treated: how long, how much, how regularly.
-- grain: one row per usubjid, paramcd
-- unit: aval in unit
-- null: aval is null where the records do not say it: a period without end, dose or amount
-- optional: sdtm.ec (usubjid varchar, ecmood varchar, ecdose double, ecvamt double, ecstdtc varchar, ecendtc varchar)
-- column studyid: Study identifier
-- column usubjid: Unique subject identifier
-- column trt01p: Planned treatment
-- column trt01a: Actual treatment
-- column paramcd: TRTDUR, CUMDOSE, AVDDSE, NDOSADJ or COMPL
-- column param: Days on treatment; cumulative dose, of a cream the amount used; average daily dose, which is the
--   cumulative dose by the days on treatment; changes of the dose, planned ones too; the dose taken in percent of
--   the dose scheduled (sdtm.ec)
-- column unit: Unit of aval
-- column aval: Value
-- column saffl: Y: safety set
with
-- How often a day; a frequency of another name leaves the dose as that of the day.
frequency (exdosfrq, per_day) as (
    values
    ('QD', 1.0), ('BID', 2.0), ('TID', 3.0), ('QID', 4.0), ('Q12H', 2.0), ('Q8H', 3.0), ('Q6H', 4.0), ('QOD', 0.5),
    ('QW', 1 / 7e0)
),

-- Frequency and amount are not collected everywhere.
record as (
    select *
    from sdtm.ex
    union all by name
    select null::varchar as exdosfrq, null::double as exvamt, null::varchar as exvamtu
    where false
),

period as (
    select
        adsl.usubjid,
        record.exseq,
        record.exdose,
        record.exdosu,
        record.exdosfrq,
        record.exvamt,
        record.exvamtu,
        try_cast(left(record.exstdtc, 10) as date) as start_date,
        -- A period without an end lasts until the next begins, and the last until treatment ends.
        coalesce(
            try_cast(left(record.exendtc, 10) as date),
            lead(start_date) over (partition by adsl.usubjid order by start_date, record.exseq) - 1,
            adsl.trtedt
        ) as end_date,
        date_diff('day', start_date, end_date) + 1 as days,
        lag(record.exdose) over (partition by adsl.usubjid order by start_date, record.exseq) as dose_before
    from record
    inner join adam.adsl as adsl on record.usubjid = adsl.usubjid
    where adsl.saffl = 'Y'
),

given as (
    select
        period.usubjid,
        count(*) as periods,
        count(*) filter (where period.exdose != period.dose_before) as changes,
        max(period.exdosu) as dose_unit,
        max(period.exvamtu) as amount_unit,
        count(period.exvamt) as weighed,
        sum(period.exvamt) as amount,
        count(period.exdose * period.days) as dosed,
        sum(
            case upper(period.exdosfrq)
                when 'ONCE' then period.exdose
                else period.exdose * period.days * coalesce(frequency.per_day, 1)
            end
        ) as dose
    from period
    left join frequency on upper(period.exdosfrq) = frequency.exdosfrq
    group by period.usubjid
),

-- A sum without one of its periods would be too small. A strength in percent times days is no dose.
total as (
    select
        usubjid,
        changes,
        weighed > 0 as is_amount,
        case when is_amount then amount_unit else dose_unit end as unit,
        case
            when is_amount and weighed = periods then amount
            when not is_amount and dosed = periods and dose_unit is distinct from '%' then dose
        end as cumulative
    from given
),

scheduled as (
    select
        ec.usubjid,
        sum(ec.ecvamt) as amount,
        sum(ec.ecdose * (date_diff('day', left(ec.ecstdtc, 10)::date, left(ec.ecendtc, 10)::date) + 1)) as dose
    from sdtm.ec
    where upper(ec.ecmood) = 'SCHEDULED'
    group by ec.usubjid
),

measured as (
    select adsl.*, total.* exclude (usubjid), coalesce(scheduled.amount, scheduled.dose) as planned
    from adam.adsl as adsl
    inner join total on adsl.usubjid = total.usubjid
    left join scheduled on adsl.usubjid = scheduled.usubjid
    where adsl.saffl = 'Y'
)

select
    measured.studyid,
    measured.usubjid,
    measured.trt01p,
    measured.trt01a,
    parameter.paramcd,
    parameter.param,
    parameter.unit,
    parameter.aval,
    measured.saffl
from measured,
    lateral (
        values
        (1, 'TRTDUR', 'Days on treatment', 'days', measured.trtdurd::double),
        (2, 'CUMDOSE', 'Cumulative dose', measured.unit, measured.cumulative),
        (
            3, 'AVDDSE', 'Average daily dose', measured.unit || '/day',
            measured.cumulative / nullif(measured.trtdurd, 0)
        ),
        (4, 'NDOSADJ', 'Changes of the dose', 'changes', measured.changes::double),
        (5, 'COMPL', 'Compliance', '%', 100 * measured.cumulative / nullif(measured.planned, 0))
    ) as parameter (place, paramcd, param, unit, aval)
where
    -- What the study does not collect is no parameter of it.
    (parameter.paramcd not in ('CUMDOSE', 'AVDDSE') or measured.is_amount or measured.unit is distinct from '%')
    and (parameter.paramcd != 'COMPL' or measured.planned is not null)
order by measured.usubjid, parameter.place
