-- The enrolled participants: treatment, dates, end of study and the analysis sets they belong to. A population
-- flag that the sponsor delivered in sdtm.suppdm takes the place of the derived one, and a value of
-- staging.subject_variables that of the house's column of its name; its other columns follow at the end.
-- grain: one row per usubjid
-- unit: age in ageu; trtdurd in days; trt01pn and trt01an in the dose unit of study.toml, else the arm's place
-- null: randfl is null in a single-arm study; trt01a, trt01an, trtsdt, trtedt and trtdurd are null where no
--   dose was recorded; eosdt and dcsreas are null while the participant is in the study; agegr1 where age is
-- optional: sdtm.suppdm (usubjid varchar, qnam varchar, qval varchar)
-- optional: sdtm.dv (usubjid varchar, dvcat varchar)
-- optional: sdtm.qs (usubjid varchar, qstestcd varchar, qsstresn double, visit varchar, qsdy bigint)
-- optional: omics.sample (usubjid varchar, visit varchar)
-- optional: adam.score_total (usubjid varchar, paramcd varchar, aval double, visit varchar, qsdy bigint,
--   avisit varchar, is_delivered boolean)
-- optional: staging.subject_variables (usubjid varchar)
-- column studyid: Study identifier
-- column usubjid: Unique subject identifier
-- column subjid: Subject identifier within the study
-- column siteid: Study site identifier
-- column sitegr1: Pooled site: the site itself, unless the study pools
-- column age: Age at the reference start
-- column ageu: Unit of age
-- column agegr1: Age group: below 65, 65 and above, unless the study groups otherwise
-- column sex: Sex
-- column race: Race
-- column ethnic: Ethnicity
-- column armcd: Planned arm code
-- column arm: Planned arm
-- column trt01p: Planned treatment: the arm as the study names it
-- column trt01pn: Planned treatment, number: the dose, else the place of the arm
-- column trt01a: Actual treatment: the arm as given, null where no dose was recorded
-- column trt01an: Actual treatment, number
-- column trtsdt: First day of treatment
-- column trtedt: Last day of treatment
-- column is_trtedt_imputed: The last exposure record has no end: trtedt is the end of the participant's study
-- column trtdurd: Days from first to last treatment, both counted
-- column enrlfl: Y: enrolled
-- column randfl: Y: randomised
-- column saffl: Y: safety set, at least one dose
-- column fasfl: Y: full analysis set, enrolled with at least one dose
-- column ittfl: Y: intention to treat: randomised, or enrolled in a single-arm study
-- column efffl: Y: efficacy set: full analysis set with a baseline and a later value of the primary score
-- column pprotfl: Y: per-protocol set: full analysis set, completed, without a major deviation
-- column complfl: Y: completed the study
-- column bmevalfl: Y: biomarker-evaluable: full analysis set with samples at baseline and later
-- column eosstt: End of study status: COMPLETED, DISCONTINUED or ONGOING
-- column eosdt: Day of the end of study
-- column dcsreas: Reason for discontinuation, standardised
-- column dcsreasp: Reason for discontinuation, as reported
-- column _source_file: File of the participant's demographics record
-- column _source_row: Row of the participant's demographics record
with
-- Screen failures and those never assigned an arm were not enrolled; they stay in sdtm.dm and sdtm.ds.
-- Ethnicity is not collected everywhere, so the column is there without it.
enrolled as (
    select *
    from (
        select *
        from sdtm.dm
        union all by name
        select null::varchar as ethnic
        where false
    )
    where upper(armcd) not in ('SCRNFAIL', 'NOTASSGN')
),

planned as (
    select
        armcd,
        arm,
        coalesce(dose, (row_number() over ())::double) as number
    from meta.arm
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
),

-- Values of the primary score, as delivered or as computed from its items, and whether each counts as baseline.
primary_value as (
    select qs.usubjid, qs.qstestcd as paramcd, qs.visit, qs.qsdy, null::varchar as avisit
    from sdtm.qs
    where qs.qsstresn is not null
    union all
    select usubjid, paramcd, visit, qsdy, avisit
    from adam.score_total
    where aval is not null and not is_delivered
),

evaluable as (
    select primary_value.usubjid
    from primary_value
    inner join meta.score as score on upper(primary_value.paramcd) = score.paramcd and score.is_primary
    cross join meta.study as study
    inner join meta.score_visit as visit
        on
            score.paramcd = visit.paramcd
            and case
                when primary_value.avisit is not null then primary_value.avisit = visit.avisit
                when study.visit_assignment = 'window'
                    then primary_value.qsdy between visit.window_start_day and visit.window_end_day
                else upper(trim(primary_value.visit)) = upper(visit.avisit)
            end
    group by primary_value.usubjid
    having bool_or(visit.is_baseline) and bool_or(not visit.is_baseline)
),

sampled as (
    select sample.usubjid
    from omics.sample as sample
    inner join meta.visit as visit on upper(trim(sample.visit)) = upper(visit.avisit)
    group by sample.usubjid
    having bool_or(visit.is_baseline) and bool_or(not visit.is_baseline)
),

deviated as (
    select distinct dv.usubjid
    from sdtm.dv
    where upper(dv.dvcat) like '%MAJOR%' or upper(dv.dvcat) like '%IMPORTANT%'
),

-- A flag is the sponsor's own where the sponsor delivered it for anybody: who has none is then out of the set.
delivered_flag as (
    select enrolled.usubjid, known.qnam, coalesce(bool_or(upper(supp.qval) = 'Y'), false) as is_in
    from enrolled
    cross join (select distinct upper(qnam) as qnam from sdtm.suppdm) as known
    left join sdtm.suppdm as supp on enrolled.usubjid = supp.usubjid and known.qnam = upper(supp.qnam)
    group by enrolled.usubjid, known.qnam
),

delivered as (
    select
        usubjid,
        bool_or(is_in) filter (where qnam = 'SAFETY') as has_safety_flag,
        bool_or(is_in) filter (where qnam = 'FULLSET') as has_full_analysis_flag,
        bool_or(is_in) filter (where qnam = 'ITT') as has_itt_flag,
        bool_or(is_in) filter (where qnam = 'EFFICACY') as has_efficacy_flag,
        bool_or(is_in) filter (where qnam = 'PPROT') as has_per_protocol_flag,
        bool_or(is_in) filter (where qnam = 'COMPLT') as has_completer_flag
    from delivered_flag
    group by usubjid
),

member as (
    select
        enrolled.usubjid,
        exposure.usubjid is not null as is_dosed,
        coalesce(delivered.has_safety_flag, is_dosed) as is_safety,
        coalesce(delivered.has_full_analysis_flag, is_dosed) as is_full_analysis,
        -- Everybody enrolled was either randomised or is in the only arm.
        coalesce(delivered.has_itt_flag, true) as is_itt,
        coalesce(delivered.has_efficacy_flag, is_full_analysis and evaluable.usubjid is not null) as is_efficacy,
        coalesce(delivered.has_completer_flag, disposition.decision = 'COMPLETED', false) as is_completer,
        coalesce(
            delivered.has_per_protocol_flag,
            is_full_analysis and disposition.decision = 'COMPLETED' and deviated.usubjid is null,
            false
        ) as is_per_protocol,
        is_full_analysis and sampled.usubjid is not null as is_biomarker_evaluable
    from enrolled
    left join exposure on enrolled.usubjid = exposure.usubjid
    left join disposition on enrolled.usubjid = disposition.usubjid
    left join delivered on enrolled.usubjid = delivered.usubjid
    left join evaluable on enrolled.usubjid = evaluable.usubjid
    left join sampled on enrolled.usubjid = sampled.usubjid
    left join deviated on enrolled.usubjid = deviated.usubjid
),

derived as (
    select
        enrolled.studyid,
        enrolled.usubjid,
        enrolled.subjid,
        enrolled.siteid,
        enrolled.siteid as sitegr1,
        enrolled.age,
        enrolled.ageu,
        case when enrolled.age < 65 then '<65' when enrolled.age >= 65 then '>=65' end as agegr1,
        enrolled.sex,
        enrolled.race,
        enrolled.ethnic,
        enrolled.armcd,
        enrolled.arm,
        coalesce(planned.arm, enrolled.arm) as trt01p,
        planned.number as trt01pn,
        case when member.is_dosed then coalesce(actual.arm, enrolled.actarm) end as trt01a,
        case when member.is_dosed then actual.number end as trt01an,
        exposure.first_date as trtsdt,
        case
            when isfinite(exposure.last_date) then exposure.last_date
            -- Treatment cannot outlast the study, so its end bounds a dose that was never closed.
            when member.is_dosed then disposition.decision_date
        end as trtedt,
        coalesce(not isfinite(exposure.last_date) and disposition.decision_date is not null, false)
            as is_trtedt_imputed,
        date_diff('day', trtsdt, trtedt) + 1 as trtdurd,
        'Y' as enrlfl,
        case when study.kind = 'parallel-group' then 'Y' end as randfl,
        if(member.is_safety, 'Y', 'N') as saffl,
        if(member.is_full_analysis, 'Y', 'N') as fasfl,
        if(member.is_itt, 'Y', 'N') as ittfl,
        if(member.is_efficacy, 'Y', 'N') as efffl,
        if(member.is_per_protocol, 'Y', 'N') as pprotfl,
        if(member.is_completer, 'Y', 'N') as complfl,
        if(member.is_biomarker_evaluable, 'Y', 'N') as bmevalfl,
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
    inner join member on enrolled.usubjid = member.usubjid
    left join planned on enrolled.armcd = planned.armcd
    left join planned as actual on enrolled.actarmcd = actual.armcd
    left join exposure on enrolled.usubjid = exposure.usubjid
    left join disposition on enrolled.usubjid = disposition.usubjid
),

-- The study's columns are known only to the study: stacked under the house's by name, the first value wins.
stacked as (
    select *, 2 as precedence
    from derived
    union all by name
    select *, 1 as precedence
    from staging.subject_variables
    where usubjid in (select derived.usubjid from derived)
),

combined as (
    select
        usubjid,
        arg_min(columns(* exclude (usubjid, precedence)), precedence) as '\0'
    from stacked
    group by usubjid
)

select
    studyid,
    usubjid,
    * exclude (studyid, usubjid, _source_file, _source_row),
    _source_file,
    _source_row
from combined
order by usubjid
