-- Time to the first adverse event of each query that the study declares, and time to leaving the study early.
-- Whoever had no such event is censored on the last day under observation: the latest of the end of the study,
-- of the reference period and of treatment; in a running study, of the last visit.
-- grain: one row per usubjid, paramcd
-- unit: aval in days, both startdt and adt counted
-- column studyid: Study identifier
-- column usubjid: Unique subject identifier
-- column trt01p: Planned treatment
-- column trt01a: Actual treatment
-- column paramcd: Time, short name: a query's, or TTDISC
-- column param: Time
-- column startdt: First day of treatment, from which the time runs
-- column adt: Day of the event or of censoring
-- column aval: Days from startdt to adt, both counted
-- column cnsr: 0 event, 1 censored
-- column evntdesc: What happened on adt
-- column srcdom: Table that adt comes from
-- column srcvar: Variable that adt comes from
-- column srcseq: Sequence number of the event in adam.adae; null where adt is no adverse event's
-- column saffl: Y: safety set
-- optional: sdtm.sv (usubjid varchar, svstdtc varchar)
with
last_visit as (
    select usubjid, max(try_cast(left(svstdtc, 10) as date)) as visit_date
    from sdtm.sv
    group by usubjid
),

participant as (
    select
        adsl.studyid,
        adsl.usubjid,
        adsl.trt01p,
        adsl.trt01a,
        adsl.trtsdt,
        adsl.eosstt,
        adsl.eosdt,
        adsl.dcsreas,
        adsl.saffl,
        try_cast(left(dm.rfendtc, 10) as date) as reference_end,
        greatest(
            adsl.eosdt,
            reference_end,
            adsl.trtedt,
            case when adsl.eosdt is null then last_visit.visit_date end,
            adsl.trtsdt
        ) as last_day,
        case
            when last_day = adsl.eosdt then 'EOSDT'
            when last_day = reference_end then 'RFENDTC'
            when last_day = adsl.trtedt then 'TRTEDT'
            when last_day = last_visit.visit_date then 'SVSTDTC'
            else 'TRTSDT'
        end as last_day_variable
    from adam.adsl as adsl
    inner join sdtm.dm as dm on adsl.usubjid = dm.usubjid
    left join last_visit on adsl.usubjid = last_visit.usubjid
    where adsl.saffl = 'Y' and adsl.trtsdt is not null
),

query as (
    select distinct paramcd, name
    from meta.ae_query
),

first_event as (
    select
        event.usubjid,
        event.paramcd,
        min(adae.astdt) as astdt,
        arg_min(adae.aeseq, (adae.astdt, adae.aeseq)) as aeseq,
        arg_min(adae.aedecod, (adae.astdt, adae.aeseq)) as aedecod
    from adam.ae_query_event as event
    inner join adam.adae as adae on event.usubjid = adae.usubjid and event.aeseq = adae.aeseq
    where adae.trtemfl = 'Y'
    group by event.usubjid, event.paramcd
),

event_time as (
    select
        participant.*,
        query.paramcd,
        'Time to first: ' || query.name as param,
        first_event.astdt as event_date,
        coalesce(first_event.aedecod, query.name) as description,
        'ADAE' as event_table,
        'ASTDT' as event_variable,
        first_event.aeseq
    from participant
    cross join query
    left join first_event on participant.usubjid = first_event.usubjid and query.paramcd = first_event.paramcd
    union all
    select
        participant.*,
        'TTDISC' as paramcd,
        'Time to discontinuation of the study' as param,
        case when eosstt = 'DISCONTINUED' then eosdt end as event_date,
        coalesce(dcsreas, 'DISCONTINUED') as description,
        'ADSL' as event_table,
        'EOSDT' as event_variable,
        null as aeseq
    from participant
)

select
    studyid,
    usubjid,
    trt01p,
    trt01a,
    paramcd,
    param,
    trtsdt as startdt,
    coalesce(event_date, last_day) as adt,
    date_diff('day', startdt, adt) + 1 as aval,
    (event_date is null)::integer as cnsr,
    case
        when event_date is not null then description
        when eosstt = 'COMPLETED' then 'COMPLETED THE STUDY'
        when eosstt = 'DISCONTINUED' then 'LEFT THE STUDY'
        else 'STILL IN THE STUDY'
    end as evntdesc,
    case
        when event_date is not null then event_table
        when last_day_variable = 'RFENDTC' then 'DM'
        when last_day_variable = 'SVSTDTC' then 'SV'
        else 'ADSL'
    end as srcdom,
    case when event_date is not null then event_variable else last_day_variable end as srcvar,
    case when event_date is not null then aeseq end as srcseq,
    saffl
from event_time
order by usubjid, paramcd
