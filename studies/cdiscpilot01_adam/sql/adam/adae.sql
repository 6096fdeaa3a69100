-- Adverse events as published in ADAE, in the columns of the house.
-- Dates, treatment emergence and first occurrences are the published ones. What ADAE does not publish follows the
-- rules of the house: the worst events, whether related, severity as a number.
-- grain: one row per usubjid, aeseq
-- unit: astdy, aendy and adurn in days
-- null: astdt where ADAE has no start; the flags are Y or null; aendtf: no end was imputed
-- replaces: the published analysis data take the place of derivation
-- column trt01p: Planned treatment
-- column trt01a: Actual treatment
-- column asevn: Severity: 1 mild, 2 moderate, 3 severe
-- column atoxgrn: Toxicity grade from the severity
-- column relgr1: Y: related to treatment, N: not; an event without causality counts as related
-- column is_relgr1_assumed: No causality was reported: relgr1 is an assumption
-- column is_discontinuing: The event led to the withdrawal of the treatment
-- column aoccifl: Y: the worst treatment-emergent event of the participant, the first of the worst
-- column aoccsifl: Y: the worst in the system organ class
-- column aoccpifl: Y: the worst of the preferred term
-- column _source_file: File of the published record
-- column _source_row: Observation in the file, from 1
with
event as (
    select
        adae.*,
        try_cast(adae.AESEQ as integer) as seq,
        try_cast(adae.ASTDT as date) as start_date,
        case upper(adae.AESEV)
            when 'MILD' then 1
            when 'MODERATE' then 2
            when 'SEVERE' then 3
        end as severity
    from raw.adae as adae
),

ranked as (
    select
        *,
        row_number() over (
            partition by USUBJID, TRTEMFL order by severity desc nulls last, start_date, seq
        ) as worst_of_all,
        row_number() over (
            partition by USUBJID, TRTEMFL, AEBODSYS order by severity desc nulls last, start_date, seq
        ) as worst_of_class,
        row_number() over (
            partition by USUBJID, TRTEMFL, AEBODSYS, AEDECOD order by severity desc nulls last, start_date, seq
        ) as worst_of_term
    from event
)

select
    adsl.studyid,
    adsl.usubjid,
    ranked.seq as aeseq,
    adsl.trt01p,
    adsl.trt01a,
    ranked.AETERM as aeterm,
    ranked.AEDECOD as aedecod,
    ranked.AEBODSYS as aebodsys,
    ranked.AESEV as aesev,
    ranked.severity as asevn,
    null::varchar as aetoxgr,
    ranked.severity as atoxgrn,
    ranked.AESER as aeser,
    ranked.AEREL as aerel,
    case when upper(ranked.AEREL) in ('NONE', 'REMOTE') then 'N' else 'Y' end as relgr1,
    ranked.AEREL is null as is_relgr1_assumed,
    ranked.AEACN as aeacn,
    coalesce(upper(ranked.AEACN) = 'DRUG WITHDRAWN', false) as is_discontinuing,
    ranked.AEOUT as aeout,
    ranked.AESDTH as aesdth,
    ranked.start_date as astdt,
    ranked.ASTDTF as astdtf,
    try_cast(ranked.ASTDY as integer) as astdy,
    try_cast(ranked.AENDT as date) as aendt,
    null::varchar as aendtf,
    try_cast(ranked.AENDY as integer) as aendy,
    try_cast(ranked.ADURN as integer) as adurn,
    ranked.TRTEMFL as trtemfl,
    ranked.AOCCFL as aoccfl,
    ranked.AOCCSFL as aoccsfl,
    ranked.AOCCPFL as aoccpfl,
    case when ranked.worst_of_all = 1 then ranked.TRTEMFL end as aoccifl,
    case when ranked.worst_of_class = 1 then ranked.TRTEMFL end as aoccsifl,
    case when ranked.worst_of_term = 1 then ranked.TRTEMFL end as aoccpifl,
    ranked.CQ01NAM as cq01nam,
    adsl.saffl,
    ranked._source_file,
    ranked._source_row
from ranked
inner join adam.adsl as adsl on ranked.USUBJID = adsl.usubjid
order by adsl.usubjid, aeseq
