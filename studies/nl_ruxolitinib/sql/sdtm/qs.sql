-- Lesion scores and questionnaires, one item per row, with the derived total of the lesion score.
-- grain: one row per usubjid, qsseq
-- unit: qsstresn in score points
-- null: qsstresn is null where the item is empty or is no number, and for a total with such an item; visitnum is null for a visit that study.toml does not name
-- column qstestcd: Item or total, short name
-- column qsorres: Value as delivered; for a total, the sum
-- column qsstresn: Value as a number
-- column qsdrvfl: Y: derived here as the sum of the five items
-- column qsevalid: Rater
-- column qsdy: Study day: 1 on the first day of treatment, -1 the day before
with lesion as (
    select
        *,
        -- Null, not smaller, when an item is missing: a sum of fewer items is another score. An item
        -- outside its range is kept and noted, so that the total shows it.
        try_cast(ERYTHEMA as double) + try_cast(INDURATION as double) + try_cast(SCALE as double)
        + try_cast(PIGMENT as double) + try_cast(SIZE_CLASS as double) as total,
        strftime(try_strptime(ASSESSDAT, '%d.%m.%Y'), '%Y-%m-%d') as qsdtc
    from raw.lesion_scores
),

long as (
    select
        lesion.SUBJID as subjid,
        lesion.VISIT as visit,
        lesion.RATER as qsevalid,
        lesion.qsdtc,
        item.*,
        lesion._source_file,
        lesion._source_row
    from lesion,
        lateral (
            values
            (1, 'NLERYTH', 'Erythema', 'NL LESION SCORE', lesion.ERYTHEMA, null),
            (2, 'NLINDUR', 'Induration', 'NL LESION SCORE', lesion.INDURATION, null),
            (3, 'NLSCALE', 'Scale', 'NL LESION SCORE', lesion.SCALE, null),
            (4, 'NLPIGM', 'Dyspigmentation', 'NL LESION SCORE', lesion.PIGMENT, null),
            (5, 'NLSIZE', 'Size class', 'NL LESION SCORE', lesion.SIZE_CLASS, null),
            (6, 'NLSCORE', 'Total', 'NL LESION SCORE', regexp_replace(lesion.total::varchar, '\.0$', ''), 'Y'),
            (7, 'NLIGA', 'Investigator global assessment', 'NL-IGA', lesion.IGA, null)
        ) as item (place, qstestcd, qstest, qscat, qsorres, qsdrvfl)
    union all
    select
        diary.SUBJID as subjid,
        diary.VISIT as visit,
        'PATIENT' as qsevalid,
        diary.COMPLETED_AT as qsdtc,
        item.*,
        diary._source_file,
        diary._source_row
    from raw.patient_reported as diary,
        lateral (
            values
            (8, 'DLQI', 'Dermatology Life Quality Index', 'DLQI', diary.DLQI, null),
            (9, 'ITCHNRS', 'Worst itch in 24 hours', 'ITCH NRS', diary.ITCH_NRS, null)
        ) as item (place, qstestcd, qstest, qscat, qsorres, qsdrvfl)
),

dated as (
    select
        long.*,
        'NLSIM-' || long.subjid as usubjid,
        upper(trim(long.visit)) as visit_name,
        try_cast(left(long.qsdtc, 10) as date) as assessed_on
    from long
)

select
    study.studyid,
    'QS' as domain,
    dated.usubjid,
    row_number() over (
        partition by dated.usubjid
        order by dated.assessed_on nulls last, dated.place, dated._source_file, dated._source_row
    ) as qsseq,
    dated.qstestcd,
    dated.qstest,
    dated.qscat,
    dated.qsorres,
    try_cast(dated.qsorres as double) as qsstresn,
    dated.qsdrvfl,
    dated.qsevalid,
    planned.avisitn as visitnum,
    dated.visit_name as visit,
    dated.qsdtc,
    date_diff('day', try_cast(dm.rfstdtc as date), dated.assessed_on)
    + (dated.assessed_on >= try_cast(dm.rfstdtc as date))::integer as qsdy,
    dated._source_file,
    dated._source_row
from dated
cross join meta.study as study
left join sdtm.dm on dated.usubjid = dm.usubjid
left join meta.visit as planned on dated.visit_name = planned.avisit
