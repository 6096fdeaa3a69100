-- A table that holds nothing of anybody.
-- grain: one row per usubjid, visit
select SUBJID as usubjid, VISIT as visit, _source_file, _source_row
from raw.visits
