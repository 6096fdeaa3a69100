-- Adverse events of the participants: dates completed, treatment emergence, severity, and which event counts.
-- Partial start: the earliest day that the text allows, but the day of the first dose where the text allows
-- that day too and the event did not end before it. A year alone before that of the first dose stays without a
-- date: the event is older than the treatment. Without any start the event is taken to begin with the treatment,
-- unless it ended before. Partial end: the latest day that the text allows, not after the end of the study.
-- Treatment-emergent: begins on or after the day of the first dose, whenever that is.
-- grain: one row per usubjid, aeseq
-- unit: astdy, aendy and adurn in days
-- null: astdt where no day can be said, aendt where the end is not known, adurn where either was imputed; the
--   flags are Y or null; trtemfl is null before treatment and for those never treated
-- column studyid: Study identifier
-- column usubjid: Unique subject identifier
-- column aeseq: Sequence number of the event in sdtm.ae
-- column trt01p: Planned treatment
-- column trt01a: Actual treatment
-- column aeterm: Event as reported
-- column aedecod: Preferred term
-- column aebodsys: System organ class
-- column aesev: Severity as reported
-- column asevn: Severity: 1 mild, 2 moderate, 3 severe
-- column aetoxgr: Toxicity grade as reported
-- column atoxgrn: Toxicity grade, number; from the severity where no grade was reported
-- column aeser: Y: serious
-- column aerel: Causality as reported
-- column relgr1: Y: related to treatment, N: not; an event without causality counts as related
-- column is_relgr1_assumed: No causality was reported: relgr1 is an assumption
-- column aeacn: Action taken with the treatment
-- column is_discontinuing: The event led to the withdrawal of the treatment
-- column aeout: Outcome
-- column aesdth: Y: the event led to death
-- column astdt: First day of the event
-- column astdtf: What of astdt was imputed: D day, M month and day, Y all
-- column astdy: Study day of the start: 1 on the first day of treatment, -1 the day before
-- column aendt: Last day of the event
-- column aendtf: What of aendt was imputed: D day, M month and day
-- column aendy: Study day of the end
-- column adurn: Days from start to end, both counted
-- column trtemfl: Y: treatment-emergent
-- column aoccfl: Y: first treatment-emergent event of the participant
-- column aoccsfl: Y: first treatment-emergent event of the participant in the system organ class
-- column aoccpfl: Y: first treatment-emergent event of the participant of the preferred term
-- column aoccifl: Y: the worst treatment-emergent event of the participant, the first of the worst
-- column aoccsifl: Y: the worst in the system organ class
-- column aoccpifl: Y: the worst of the preferred term
-- column cq01nam: First of the study's queries that the event belongs to
-- column saffl: Y: safety set
with
-- What a study need not deliver is null where it does not.
delivered as (
    select
        null::varchar as aetoxgr,
        null::varchar as aesdth
    where false
    union all by name
    select * from sdtm.ae
),

event as (
    select
        ae.*,
        ae.aetoxgr::varchar as grade,
        adsl.trt01p,
        adsl.trt01a,
        adsl.trtsdt,
        adsl.eosdt,
        adsl.saffl,
        regexp_extract(ae.aestdtc, '^\d{4}(-\d{2}(-\d{2})?)?') as start_part,
        regexp_extract(ae.aeendtc, '^\d{4}(-\d{2}(-\d{2})?)?') as end_part
    from delivered as ae
    inner join adam.adsl as adsl on ae.usubjid = adsl.usubjid
),

-- The days that a partial date allows.
bounded as (
    select
        *,
        case length(start_part)
            when 10 then try_cast(start_part as date)
            when 7 then try_cast(start_part || '-01' as date)
            when 4 then try_cast(start_part || '-01-01' as date)
        end as start_low,
        case length(start_part)
            when 10 then start_low
            when 7 then last_day(start_low)
            when 4 then start_low + interval 1 year - interval 1 day
        end::date as start_high,
        case length(end_part)
            when 10 then try_cast(end_part as date)
            when 7 then last_day(try_cast(end_part || '-01' as date))
            when 4 then try_cast(end_part || '-12-31' as date)
        end as end_high,
        case length(end_part)
            when 10 then end_high
            when 7 then date_trunc('month', end_high)
            when 4 then date_trunc('year', end_high)
        end::date as end_low
    from event
),

dated as (
    select
        *,
        case
            when end_high is null then null
            when length(end_part) < 10 and eosdt between end_low and end_high then eosdt
            else end_high
        end as aendt,
        coalesce(aendt < trtsdt, false) as has_ended_before,
        case
            when length(start_part) = 10 then start_low
            when start_low is null and not has_ended_before then trtsdt
            when trtsdt between start_low and start_high and not has_ended_before then trtsdt
            when length(start_part) = 7 or start_low > trtsdt then start_low
        end as astdt,
        case
            when astdt is null or length(start_part) = 10 then null
            when start_low is null then 'Y'
            when length(start_part) = 4 then 'M'
            else 'D'
        end as astdtf,
        case
            when aendt is null or length(end_part) = 10 then null
            when length(end_part) = 4 then 'M'
            else 'D'
        end as aendtf
    from bounded
),

judged as (
    select
        *,
        date_diff('day', trtsdt, astdt) as days_to_start,
        date_diff('day', trtsdt, aendt) as days_to_end,
        case upper(aesev)
            when 'MILD' then 1
            when 'MODERATE' then 2
            when 'SEVERE' then 3
        end as asevn,
        coalesce(try_cast(regexp_extract(grade, '\d') as integer), asevn) as atoxgrn,
        case when astdt >= trtsdt then 'Y' end as trtemfl
    from dated
),

ranked as (
    select
        *,
        row_number() over (partition by usubjid, trtemfl order by astdt, aeseq) as first_of_all,
        row_number() over (partition by usubjid, trtemfl, aebodsys order by astdt, aeseq) as first_of_class,
        row_number() over (partition by usubjid, trtemfl, aebodsys, aedecod order by astdt, aeseq)
            as first_of_term,
        row_number() over (
            partition by usubjid, trtemfl order by atoxgrn desc nulls last, astdt, aeseq
        ) as worst_of_all,
        row_number() over (
            partition by usubjid, trtemfl, aebodsys order by atoxgrn desc nulls last, astdt, aeseq
        ) as worst_of_class,
        row_number() over (
            partition by usubjid, trtemfl, aebodsys, aedecod order by atoxgrn desc nulls last, astdt, aeseq
        ) as worst_of_term
    from judged
),

first_query as (
    select usubjid, aeseq, arg_min(name, query_order) as cq01nam
    from adam.ae_query_event
    group by usubjid, aeseq
)

select
    ranked.studyid,
    ranked.usubjid,
    ranked.aeseq,
    ranked.trt01p,
    ranked.trt01a,
    ranked.aeterm,
    ranked.aedecod,
    ranked.aebodsys,
    ranked.aesev,
    ranked.asevn,
    ranked.grade as aetoxgr,
    ranked.atoxgrn,
    ranked.aeser,
    ranked.aerel,
    -- A remote or unlikely relation is none; whatever else was written, and nothing at all, is one.
    case
        when
            upper(trim(ranked.aerel)) in (
                'N', 'NO', 'NONE', 'NOT RELATED', 'UNRELATED', 'REMOTE', 'UNLIKELY', 'UNLIKELY RELATED',
                'DOUBTFUL'
            )
            then 'N'
        else 'Y'
    end as relgr1,
    coalesce(trim(ranked.aerel), '') = '' as is_relgr1_assumed,
    ranked.aeacn,
    coalesce(upper(ranked.aeacn) in ('DRUG WITHDRAWN', 'PERMANENTLY DISCONTINUED', 'DISCONTINUED'), false)
        as is_discontinuing,
    ranked.aeout,
    case when upper(ranked.aesdth) = 'Y' or upper(ranked.aeout) = 'FATAL' then 'Y' else 'N' end as aesdth,
    ranked.astdt,
    ranked.astdtf,
    ranked.days_to_start + (ranked.days_to_start >= 0)::integer as astdy,
    ranked.aendt,
    ranked.aendtf,
    ranked.days_to_end + (ranked.days_to_end >= 0)::integer as aendy,
    -- A day that was imputed says nothing about how long the event lasted.
    case
        when ranked.aendt >= ranked.astdt and ranked.astdtf is null and ranked.aendtf is null
            then date_diff('day', ranked.astdt, ranked.aendt) + 1
    end as adurn,
    ranked.trtemfl,
    case when ranked.first_of_all = 1 then ranked.trtemfl end as aoccfl,
    case when ranked.first_of_class = 1 then ranked.trtemfl end as aoccsfl,
    case when ranked.first_of_term = 1 then ranked.trtemfl end as aoccpfl,
    case when ranked.worst_of_all = 1 then ranked.trtemfl end as aoccifl,
    case when ranked.worst_of_class = 1 then ranked.trtemfl end as aoccsifl,
    case when ranked.worst_of_term = 1 then ranked.trtemfl end as aoccpifl,
    first_query.cq01nam,
    ranked.saffl,
    ranked._source_file,
    ranked._source_row
from ranked
left join first_query on ranked.usubjid = first_query.usubjid and ranked.aeseq = first_query.aeseq
order by ranked.usubjid, ranked.aeseq
