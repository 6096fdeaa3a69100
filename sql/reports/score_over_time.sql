-- The primary score of each participant at each analysis visit, one chosen record per visit.
-- grain: one row per usubjid, avisit
-- unit: aval and chg in the unit of the score; pchg in percent of baseline; ady in days
-- null: chg and pchg are null where no baseline was recorded
-- column usubjid: Unique subject identifier
-- column trt01a: Actual treatment
-- column aval: Value of the score
-- column ady: Study day: 1 on the first day of treatment, -1 the day before
select
    adqs.usubjid,
    adqs.trt01a,
    adqs.paramcd,
    adqs.param,
    score.unit,
    adqs.avisit,
    adqs.avisitn,
    adqs.ady,
    adqs.aval,
    adqs.chg,
    adqs.pchg
from adam.adqs as adqs
inner join meta.score as score on adqs.paramcd = score.paramcd
where
    score.is_primary
    and adqs.anl01fl = 'Y'
    and adqs.fasfl = 'Y'
    and adqs.dtype is null
    and adqs.avisit is not null
