-- What the analysis plan says of a participant beyond the common variables of adam.adsl: baseline
-- characteristics, pooled sites, completion flags and the published grouping of reasons.
-- grain: one row per usubjid, of the randomised
-- unit: heightbl in cm; weightbl in kg; bmibl in kg/m2; educlvl in years; durdis in months; mmsetot in points;
--   cumdose and avgdd in mg
-- null: weightbl and bmibl are null where the weight was not taken; disonsdt and durdis where the month or
--   day of the diagnosis is unknown; disconfl, dsraefl and dthfl are Y or null, as in the published data
-- column sitegr1: Pooled site: 900 for sites with fewer than three participants in an arm
-- column agegr1: Age group of the plan
-- column origin: Origin as the study report counts it: the Hispanic beside the races
-- column heightbl: Height at the first screening visit
-- column weightbl: Weight at the baseline visit
-- column bmibl: Body mass index at baseline
-- column bmiblgr1: Group of the body mass index
-- column educlvl: Education
-- column mmsetot: MMSE total at screening, the sum of its items
-- column visit1dt: Day of the first screening visit
-- column disonsdt: Day of the first symptoms of the disease
-- column durdis: Duration of the disease at the first screening visit
-- column durdsgr1: Group of the duration
-- column visnumen: Last visit: that of the disposition, week 24 for those who completed
-- column rfendt: Reference end: last day in the study
-- column cumdose: Cumulative dose
-- column avgdd: Average daily dose
-- column comp8fl: Y: completed week 8 on treatment, N: not
-- column comp16fl: Y: completed week 16 on treatment, N: not
-- column comp24fl: Y: completed week 24 on treatment, N: not
-- column dcdecod: Disposition, standardised as in the published analysis data
-- column dcsreas: Reason for discontinuation, grouped as the study report groups it
-- column disconfl: Y: did not complete the study
-- column dsraefl: Y: left the study because of an adverse event
-- column dthfl: Y: died
with
randomised as (
    select
        USUBJID as usubjid,
        SITEID as siteid,
        ARMCD as armcd,
        case
            when ETHNIC = 'HISPANIC OR LATINO' then 'Hispanic'
            when RACE = 'WHITE' then 'Caucasian'
            when RACE = 'BLACK OR AFRICAN AMERICAN' then 'African descent'
            else 'Other'
        end as origin,
        try_cast(AGE as double) as age,
        try_cast(RFENDTC as date) as rfendt,
        DTHFL as dthfl
    from raw.dm
    where ARMCD not in ('Scrnfail', 'NOTASSGN')
),

site_size as (
    select
        siteid,
        min(participants) as smallest_arm,
        count(*) as arms
    from (
        select siteid, armcd, count(*) as participants
        from randomised
        group by siteid, armcd
    )
    group by siteid
),

disposition as (
    select
        USUBJID as usubjid,
        DSDECOD as decision,
        try_cast(VISITNUM as double) as visitnum,
        try_cast(DSSTDTC as date) as decision_date
    from raw.ds
    where DSCAT = 'DISPOSITION EVENT' and DSDECOD != 'SCREEN FAILURE'
),

vitals as (
    select
        USUBJID as usubjid,
        -- The plan analyses both to one decimal, and the body mass index from them as rounded.
        round(max(measured) filter (where VSTESTCD = 'HEIGHT' and visitnum = 1), 1)::double as heightbl,
        round(max(measured) filter (where VSTESTCD = 'WEIGHT' and visitnum = 3), 1)::double as weightbl
    from (
        select
            USUBJID,
            VSTESTCD,
            try_cast(VISITNUM as double) as visitnum,
            -- As decimals, for 67.95 as a binary number is a little less and would be rounded down.
            try_cast(VSSTRESN as decimal(12, 4)) as measured
        from raw.vs
    )
    group by USUBJID
),

-- A period that was never closed ends with the participation.
dosing as (
    select
        ex.USUBJID as usubjid,
        if(count(days) = count(*), sum(try_cast(ex.EXDOSE as double) * days), null) as cumdose,
        round(cumdose / sum(days), 1) as avgdd
    from (
        select
            ex.*,
            date_diff(
                'day',
                try_cast(ex.EXSTDTC as date),
                coalesce(try_cast(ex.EXENDTC as date), disposition.decision_date)
            ) + 1 as days
        from raw.ex as ex
        left join disposition on ex.USUBJID = disposition.usubjid
    ) as ex
    group by ex.USUBJID
),

education as (
    select USUBJID as usubjid, max(try_cast(SCSTRESN as double)) as educlvl
    from raw.sc
    where SCTESTCD = 'EDULEVEL'
    group by USUBJID
),

mental_state as (
    select USUBJID as usubjid, sum(try_cast(QSORRES as double)) as mmsetot
    from raw.qs
    where QSCAT = 'MMSE'
    group by USUBJID
),

first_visit as (
    select USUBJID as usubjid, min(try_cast(SVSTDTC as date)) as visit1dt
    from raw.sv
    where try_cast(VISITNUM as double) = 1
    group by USUBJID
),

diagnosis as (
    select USUBJID as usubjid, min(try_cast(MHSTDTC as date)) as disonsdt
    from raw.mh
    where MHCAT = 'PRIMARY DIAGNOSIS'
    group by USUBJID
),

completion as (
    select
        USUBJID as usubjid,
        coalesce(max(QVAL) filter (where QNAM = 'COMPLT8'), 'N') as comp8fl,
        coalesce(max(QVAL) filter (where QNAM = 'COMPLT16'), 'N') as comp16fl,
        coalesce(max(QVAL) filter (where QNAM = 'COMPLT24'), 'N') as comp24fl
    from raw.suppdm
    group by USUBJID
),

-- The delivery codes with a later terminology than the published analysis data; the words of the latter
-- are those of the study report.
reason (decision, dcdecod, dcsreas) as (
    values
    ('COMPLETED', 'COMPLETED', null),
    ('ADVERSE EVENT', 'ADVERSE EVENT', 'Adverse Event'),
    ('DEATH', 'DEATH', 'Death'),
    ('LACK OF EFFICACY', 'LACK OF EFFICACY', 'Lack of Efficacy'),
    ('LOST TO FOLLOW-UP', 'LOST TO FOLLOW-UP', 'Lost to Follow-up'),
    ('PHYSICIAN DECISION', 'PHYSICIAN DECISION', 'Physician Decision'),
    ('PROTOCOL DEVIATION', 'PROTOCOL VIOLATION', 'Protocol Violation'),
    ('STUDY TERMINATED BY SPONSOR', 'STUDY TERMINATED BY SPONSOR', 'Sponsor Decision'),
    ('WITHDRAWAL BY SUBJECT', 'WITHDRAWAL BY SUBJECT', 'Withdrew Consent')
),

-- Who did not meet an entry criterion and was withdrawn for it.
entry as (
    select distinct USUBJID as usubjid
    from raw.suppds
)

select
    randomised.usubjid,
    case when site_size.arms < 3 or site_size.smallest_arm < 3 then '900' else randomised.siteid end as sitegr1,
    case when randomised.age < 65 then '<65' when randomised.age <= 80 then '65-80' else '>80' end as agegr1,
    randomised.origin,
    vitals.heightbl,
    vitals.weightbl,
    round(vitals.weightbl / (vitals.heightbl / 100) ** 2, 1) as bmibl,
    case when bmibl < 25 then '<25' when bmibl < 30 then '25-<30' when bmibl >= 30 then '>=30' end as bmiblgr1,
    education.educlvl,
    mental_state.mmsetot,
    first_visit.visit1dt,
    diagnosis.disonsdt,
    round((date_diff('day', diagnosis.disonsdt, first_visit.visit1dt) + 1) * 12 / 365.25, 1) as durdis,
    case when durdis < 12 then '<12' when durdis >= 12 then '>=12' end as durdsgr1,
    least(disposition.visitnum, 12) as visnumen,
    randomised.rfendt,
    dosing.cumdose,
    dosing.avgdd,
    coalesce(completion.comp8fl, 'N') as comp8fl,
    coalesce(completion.comp16fl, 'N') as comp16fl,
    coalesce(completion.comp24fl, 'N') as comp24fl,
    reason.dcdecod,
    case
        when disposition.decision = 'COMPLETED' then null
        when disposition.decision = 'PROTOCOL DEVIATION' and entry.usubjid is not null then 'I/E Not Met'
        else reason.dcsreas
    end as dcsreas,
    case when disposition.decision != 'COMPLETED' then 'Y' end as disconfl,
    case when disposition.decision = 'ADVERSE EVENT' then 'Y' end as dsraefl,
    randomised.dthfl
from randomised
left join site_size on randomised.siteid = site_size.siteid
left join vitals on randomised.usubjid = vitals.usubjid
left join education on randomised.usubjid = education.usubjid
left join mental_state on randomised.usubjid = mental_state.usubjid
left join first_visit on randomised.usubjid = first_visit.usubjid
left join diagnosis on randomised.usubjid = diagnosis.usubjid
left join dosing on randomised.usubjid = dosing.usubjid
left join completion on randomised.usubjid = completion.usubjid
left join disposition on randomised.usubjid = disposition.usubjid
left join reason on disposition.decision = reason.decision
left join entry on randomised.usubjid = entry.usubjid
