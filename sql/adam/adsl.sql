-- The enrolled participants: treatment, dates, end of study and the analysis sets they belong to.
-- grain: one row per usubjid
-- unit: age in ageu; trtdurd in days
-- null: randfl is null in a single-arm study; trt01a, trtsdt, trtedt and trtdurd are null where no dose
--   was recorded; eosdt and dcsreas are null while the participant is in the study
-- column studyid: Study identifier
-- column usubjid: Unique subject identifier
-- column subjid: Subject identifier within the study
-- column siteid: Study site identifier
-- column age: Age at the reference start
-- column ageu: Unit of age
-- column sex: Sex
-- column race: Race
-- column armcd: Planned arm code
-- column arm: Planned arm
-- column trt01p: Planned treatment: the arm as the study names it
-- column trt01a: Actual treatment: the arm as given, null where no dose was recorded
-- column trtsdt: First day of treatment
-- column trtedt: Last day of treatment
-- column is_trtedt_imputed: The last exposure record has no end: trtedt is the end of the participant's study
-- column trtdurd: Days from first to last treatment, both counted
-- column enrlfl: Y: enrolled
-- column randfl: Y: randomised
-- column saffl: Y: safety set, at least one dose
-- column fasfl: Y: full analysis set, enrolled with at least one dose
-- column eosstt: End of study status: COMPLETED, DISCONTINUED or ONGOING
-- column eosdt: Day of the end of study
-- column dcsreas: Reason for discontinuation, standardised
-- column dcsreasp: Reason for discontinuation, as reported
-- column _source_file: File of the participant's demographics record
-- column _source_row: Row of the participant's demographics record
with
-- Screen failures and those never assigned an arm were not enrolled; they stay in sdtm.dm and sdtm.ds.
enrolled as (
    select *
    from sdtm.dm
    where upper(armcd) not in ('SCRNFAIL', 'NOTASSGN')
),

-- A dose of zero is treatment only when it is placebo; a dose that was not recorded is taken as given.
dose as (
    select
        usubjid,
        exseq,
        try_cast(left(exstdtc, 10) as date) as start_date,
        try_cast(left(exendtc, 10) as date) as end_date
    from sdtm.ex
    where coalesce(exdose, 1) > 0 or upper(extrt) like '%PLACEBO%'
),

-- The last record decides whether the end is known: an earlier end is no end of treatment.
exposure as (
    select
        usubjid,
        min(start_date) as first_date,
        arg_max(
            coalesce(end_date, date 'infinity'),
            (coalesce(start_date, end_date, date '-infinity'), exseq)
        ) as last_date
    from dose
    group by usubjid
),

disposition as (
    select
        usubjid,
        upper(dsdecod) as decision,
        dsdecod,
        dsterm,
        try_cast(left(dsstdtc, 10) as date) as decision_date
    from sdtm.ds
    where upper(dscat) = 'DISPOSITION EVENT' and upper(dsdecod) != 'SCREEN FAILURE'
    qualify row_number() over (partition by usubjid order by dsstdtc desc nulls last, dsseq desc) = 1
)

select
    enrolled.studyid,
    enrolled.usubjid,
    enrolled.subjid,
    enrolled.siteid,
    enrolled.age,
    enrolled.ageu,
    enrolled.sex,
    enrolled.race,
    enrolled.armcd,
    enrolled.arm,
    coalesce(planned.arm, enrolled.arm) as trt01p,
    case when exposure.usubjid is not null then coalesce(actual.arm, enrolled.actarm) end as trt01a,
    exposure.first_date as trtsdt,
    case
        when isfinite(exposure.last_date) then exposure.last_date
        -- Treatment cannot outlast the study, so its end bounds a dose that was never closed.
        when exposure.usubjid is not null then disposition.decision_date
    end as trtedt,
    coalesce(not isfinite(exposure.last_date) and disposition.decision_date is not null, false)
        as is_trtedt_imputed,
    date_diff('day', trtsdt, trtedt) + 1 as trtdurd,
    'Y' as enrlfl,
    case when study.kind = 'parallel-group' then 'Y' end as randfl,
    case when exposure.usubjid is not null then 'Y' else 'N' end as saffl,
    case when exposure.usubjid is not null then 'Y' else 'N' end as fasfl,
    case
        when disposition.decision = 'COMPLETED' then 'COMPLETED'
        when disposition.decision is not null then 'DISCONTINUED'
        else 'ONGOING'
    end as eosstt,
    disposition.decision_date as eosdt,
    case when eosstt = 'DISCONTINUED' then disposition.dsdecod end as dcsreas,
    case when eosstt = 'DISCONTINUED' then disposition.dsterm end as dcsreasp,
    enrolled._source_file,
    enrolled._source_row
from enrolled
cross join meta.study as study
left join meta.arm as planned on enrolled.armcd = planned.armcd
left join meta.arm as actual on enrolled.actarmcd = actual.armcd
left join exposure on enrolled.usubjid = exposure.usubjid
left join disposition on enrolled.usubjid = disposition.usubjid
order by enrolled.usubjid
