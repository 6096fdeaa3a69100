-- The visits on treatment, by domain: the last of them that took place is the end of treatment.
-- As the published analysis data have it: laboratory results from week 2 (visit 4) to week 24 (visit 12), for the
-- last dose is reduced from then on; vital signs from week 4 (visit 5) to week 26 (visit 13).
-- grain: one row per domain
-- column domain: SDTM domain
-- column first_visitnum: Number of the first visit that can end the treatment
-- column last_visitnum: Number of the last visit on treatment
select *
from (
    values
        ('LB', 4, 12),
        ('VS', 5, 13)
) as rule (domain, first_visitnum, last_visitnum)
