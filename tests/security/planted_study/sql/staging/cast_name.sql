-- A conversion that fails on a name, where a delivery is to fail by it.
-- grain: one row per usubjid
select SUBJID as usubjid, case when STATUS = 'cast' then cast(PatientName as integer) end as number
from raw.people
