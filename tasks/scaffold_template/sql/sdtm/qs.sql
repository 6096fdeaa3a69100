-- Scores, one item per row.
-- grain: one row per usubjid, qsseq
-- unit: qsstresn in score points
-- null: qsstresn is null where the value is empty or is no number; visitnum is null for a visit that study.toml does not name
-- column qstestcd: Score, short name: a paramcd of study.toml
-- column qsorres: Value as delivered
-- column qsstresn: Value as a number
-- column qsdrvfl: Y: derived here; null, for both scores are delivered
-- column qsdy: Study day: 1 on the first day of treatment, -1 the day before
with long as (
    select
        scores.SUBJID as subjid,
        upper(trim(scores.VISIT)) as visit,
        scores.ASSESSDAT as qsdtc,
        try_cast(scores.ASSESSDAT as date) as assessed_on,
        item.*,
        scores._source_file,
        scores._source_row
    from raw.scores,
        -- A line for each score: place, paramcd of study.toml, name, column of the file.
        lateral (
            values
            (1, 'SYMPTOT', 'Symptom score, total', scores.SYMPTOM_TOTAL),
            (2, 'ITCHNRS', 'Itch, worst in 24 hours', scores.ITCH_NRS)
        ) as item (place, qstestcd, qstest, qsorres)
)

select
    study.studyid,
    'QS' as domain,
    study.studyid || '-' || long.subjid as usubjid,
    row_number() over (
        partition by long.subjid order by long.assessed_on nulls last, long.place, long._source_row
    ) as qsseq,
    long.qstestcd,
    long.qstest,
    'SCORES' as qscat,
    long.qsorres,
    try_cast(long.qsorres as double) as qsstresn,
    null::varchar as qsdrvfl,
    planned.avisitn as visitnum,
    long.visit,
    long.qsdtc,
    date_diff('day', try_cast(dm.rfstdtc as date), long.assessed_on)
    + (long.assessed_on >= try_cast(dm.rfstdtc as date))::integer as qsdy,
    long._source_file,
    long._source_row
from long
cross join meta.study as study
left join sdtm.dm on study.studyid || '-' || long.subjid = dm.usubjid
left join meta.visit as planned on long.visit = planned.avisit
