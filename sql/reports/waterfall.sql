-- Each participant's change of the primary score at the primary visit, from the largest rise to the largest fall.
-- grain: one row per usubjid
-- unit: base, aval and chg in the unit of the score; pchg in percent of base
-- null: pchg is null where base is zero or missing; is_improved is null where chg is
-- column position: Place from the left of the chart
-- column usubjid: Unique subject identifier
-- column trt01a: Actual treatment
-- column better: Which direction of the score is improvement
-- column is_improved: The score moved in the direction that is better
with
primary_visit as (
    select distinct paramcd, avisit
    from results.primary_endpoint
    where is_primary
)

select
    row_number() over (order by adqs.pchg desc nulls last, adqs.usubjid) as position,
    adqs.usubjid,
    adqs.trt01a,
    adqs.paramcd,
    adqs.param,
    score.unit,
    adqs.avisit,
    adqs.base,
    adqs.aval,
    adqs.chg,
    adqs.pchg,
    score.better,
    case score.better when 'lower' then adqs.chg < 0 else adqs.chg > 0 end as is_improved
from adam.adqs as adqs
inner join primary_visit on adqs.paramcd = primary_visit.paramcd and adqs.avisit = primary_visit.avisit
inner join meta.score as score on adqs.paramcd = score.paramcd
where adqs.anl01fl = 'Y' and adqs.fasfl = 'Y' and adqs.dtype is null
