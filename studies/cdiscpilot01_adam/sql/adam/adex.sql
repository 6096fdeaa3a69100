-- Exposure as published in ADSL: duration, cumulative dose and average daily dose.
-- grain: one row per usubjid, paramcd
-- unit: aval in unit
-- replaces: the published analysis data take the place of derivation
-- column studyid: Study identifier
-- column usubjid: Unique subject identifier
-- column trt01p: Planned treatment
-- column trt01a: Actual treatment
-- column paramcd: TRTDUR, CUMDOSE or AVDDSE
-- column param: Measure of exposure
-- column unit: Unit
-- column aval: Value
-- column saffl: Y: safety set
select
    adsl.studyid,
    adsl.usubjid,
    adsl.trt01p,
    adsl.trt01a,
    measure.paramcd,
    measure.param,
    measure.unit,
    case measure.paramcd
        when 'TRTDUR' then adsl.trtdurd
        when 'CUMDOSE' then adsl.cumdose
        else adsl.avgdd
    end as aval,
    adsl.saffl
from adam.adsl as adsl
cross join (
    values
        ('TRTDUR', 'Days on treatment', 'days'),
        ('CUMDOSE', 'Cumulative dose', 'mg'),
        ('AVDDSE', 'Average daily dose', 'mg/day')
) as measure (paramcd, param, unit)
order by adsl.usubjid, measure.paramcd
