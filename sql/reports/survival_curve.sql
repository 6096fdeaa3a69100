-- Kaplan-Meier curves: the share without the event after each day on which someone had it or was censored.
-- grain: one row per estimand, paramcd, arm, day
-- unit: day in days from the start; survival and its interval as fractions; counts in participants
-- null: ci_low and ci_high are null where nobody had the event yet, or nobody is left
-- column day: Days from the start, the first day counted
-- column n_at_risk: Participants without event and not censored before the day
-- column survival: Share without the event after the day
select
    estimand,
    group2_level as paramcd,
    max(variable_label) as param,
    group1_level as arm,
    max(stat) filter (where stat_name = 'time') as day,
    max(stat) filter (where stat_name = 'n.risk')::bigint as n_at_risk,
    max(stat) filter (where stat_name = 'n.event')::bigint as n_event,
    max(stat) filter (where stat_name = 'n.censor')::bigint as n_censored,
    max(stat) filter (where stat_name = 'estimate') as survival,
    max(stat) filter (where stat_name = 'conf.low') as ci_low,
    max(stat) filter (where stat_name = 'conf.high') as ci_high,
    min(position) as position
from results.time_to_event
where context = 'kaplan_meier'
group by estimand, group2_level, group1_level, group3_level
order by position
