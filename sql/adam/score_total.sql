-- Scores of study.toml computed from the item records of sdtm.qs by the rules of adam.score_rule, beside the
-- delivered total where there is one: adam.adqs takes the delivered one.
-- grain: one row per usubjid, paramcd, visit, qsdtc, avisit
-- unit: aval and delivered in the unit of the score; qsdy in days
-- null: aval is null where the rule gives no score; delivered and is_as_delivered where no total was delivered;
--   avisit is null except for a score over a window; visit, visitnum and qsdy are null for such a score
-- column studyid: Study identifier
-- column usubjid: Unique subject identifier
-- column paramcd: Score, short name
-- column visit: Visit of the items
-- column visitnum: Visit of the items, number
-- column qsdtc: Day of the items; of the last of them for a score over a window
-- column qsdy: Study day of the items
-- column avisit: Analysis visit whose window the items lie in
-- column n_items: Items (lesions times items) that the score is made of
-- column n_answered: Items, or days of a window, with a value
-- column n_lesions: Lesions rated
-- column n_out_of_range: Items with a value outside the item's range
-- column aval: Score as computed
-- column delivered: Score as delivered
-- column is_delivered: A total was delivered, which counts
-- column is_as_delivered: The delivered total is what its items give
-- column _source_file: File of the first item
-- column _source_row: Row of the first item
with
-- The lesion is known where a study has several; elsewhere there is no such column.
assessed as (
    select
        studyid,
        usubjid,
        qstestcd,
        qsorres,
        qsstresn,
        visit,
        visitnum,
        qsdtc,
        qsdy,
        qsgrpid,
        _source_file,
        _source_row
    from (
        select *
        from sdtm.qs
        union all by name
        select null::varchar as qsgrpid
        where false
    )
    where
        upper(qstestcd) in (select item.qstestcd from adam.score_item as item)
        or upper(qstestcd) in (select known.paramcd from adam.score_rule as known)
),

wanted as (
    select
        rule.*,
        count(distinct item.item) as n_in_rule,
        sum(item.item_high) filter (where item.is_first) as greatest
    from adam.score_rule as rule
    inner join meta.score as score on rule.paramcd = score.paramcd
    inner join (
        select *, row_number() over (partition by paramcd, item order by item_high desc nulls last) = 1 as is_first
        from adam.score_item
    ) as item on rule.paramcd = item.paramcd
    where rule.statistic != 'value'
    group by all
),

-- Several questions of one item, and an answer ticked twice, count as the highest.
answered as (
    select
        assessed.studyid,
        assessed.usubjid,
        wanted.paramcd,
        wanted.span,
        assessed.visit,
        assessed.visitnum,
        left(assessed.qsdtc, 10) as qsdtc,
        assessed.qsdy,
        assessed.qsgrpid,
        item.item,
        min(item.qstestcd) as qstestcd,
        max(item.item_high) as item_high,
        max(coalesce(assessed.qsstresn, answer.value)) as value,
        bool_or(assessed.qsstresn < item.item_low or assessed.qsstresn > item.item_high) as is_out_of_range,
        min({'file': assessed._source_file, 'row': assessed._source_row}) as origin
    from assessed
    inner join adam.score_item as item on upper(assessed.qstestcd) = item.qstestcd
    inner join wanted on item.paramcd = wanted.paramcd
    left join adam.score_answer as answer
        on wanted.instrument = answer.instrument and upper(trim(assessed.qsorres)) = answer.answer
    group by all
),

by_lesion as (
    select
        answered.studyid,
        answered.usubjid,
        answered.paramcd,
        answered.visit,
        answered.visitnum,
        answered.qsdtc,
        min(answered.qsdy) as qsdy,
        answered.qsgrpid,
        count(answered.value) as n_answered,
        count(*) filter (where answered.is_out_of_range) as n_out_of_range,
        min(answered.origin) as origin,
        any_value(wanted.across_lesions) as across_lesions,
        any_value(wanted.n_in_rule) as n_in_rule,
        case
            when n_answered >= any_value(wanted.min_answered)
                then any_value(wanted.multiplier) * case any_value(wanted.statistic)
                    when 'mean' then avg(answered.value)
                    when 'sum'
                        then
                            sum(answered.value)
                            + coalesce(
                                any_value(wanted.missing_value) * (any_value(wanted.n_in_rule) - n_answered), 0
                            )
                    when 'prorated_sum'
                        then
                            sum(answered.value) * any_value(wanted.greatest)
                            / sum(answered.item_high) filter (where answered.value is not null)
                end
        end as total
    from answered
    inner join wanted on answered.paramcd = wanted.paramcd
    where answered.span = 'assessment'
    group by
        answered.studyid, answered.usubjid, answered.paramcd, answered.visit, answered.visitnum, answered.qsdtc,
        answered.qsgrpid
),

by_assessment as (
    select
        studyid,
        usubjid,
        paramcd,
        visit,
        visitnum,
        qsdtc,
        min(qsdy) as qsdy,
        null::varchar as avisit,
        count(*) as n_lesions,
        sum(n_in_rule)::bigint as n_items,
        sum(n_answered)::bigint as n_answered,
        sum(n_out_of_range)::bigint as n_out_of_range,
        min(origin) as origin,
        -- A lesion that was rated once belongs to every total: without it the total is of another lesion.
        case
            when
                count(total) = max(count(*)) over (partition by usubjid, paramcd)
                or (any_value(across_lesions) is null and count(total) = 1)
                then if(any_value(across_lesions) = 'mean', avg(total), sum(total))
        end as aval
    from by_lesion
    group by studyid, usubjid, paramcd, visit, visitnum, qsdtc
),

passed_over as (
    select answered.usubjid, answered.qstestcd, answered.qsdtc
    from answered
    cross join meta.study as study
    inner join meta.score_visit as visit
        on
            answered.qstestcd = visit.paramcd
            and answered.qsdy between visit.window_start_day and visit.window_end_day
    where answered.span = 'window' and answered.value is not null and study.visit_assignment = 'window'
    qualify
        row_number() over (
            partition by answered.usubjid, answered.paramcd, visit.avisit
            order by
                abs(
                    answered.qsdy - (answered.qsdy > 0)::integer
                    - visit.target_day + (visit.target_day > 0)::integer
                ),
                answered.qsdtc desc
        ) > 1
),

-- Where the item is a score with analysis visits of its own, one value stands for each of them, the nearest to the
-- planned day as in adam.adqs; a diary has a value for each day.
by_day as (
    select
        answered.studyid,
        answered.usubjid,
        answered.paramcd,
        answered.qsdtc,
        answered.qsdy,
        avg(answered.value) as value,
        bool_or(answered.is_out_of_range) as is_out_of_range,
        min(answered.origin) as origin
    from answered
    where
        answered.span = 'window'
        and answered.value is not null
        and not exists (
            from passed_over
            where
                passed_over.usubjid = answered.usubjid
                and passed_over.qstestcd = answered.qstestcd
                and passed_over.qsdtc = answered.qsdtc
        )
    group by answered.studyid, answered.usubjid, answered.paramcd, answered.qsdtc, answered.qsdy
),

by_window as (
    select
        by_day.studyid,
        by_day.usubjid,
        by_day.paramcd,
        null::varchar as visit,
        null::double as visitnum,
        max(by_day.qsdtc) as qsdtc,
        null::bigint as qsdy,
        visit.avisit,
        1 as n_lesions,
        any_value(wanted.n_in_rule) as n_items,
        count(*) as n_answered,
        count(*) filter (where by_day.is_out_of_range) as n_out_of_range,
        min(by_day.origin) as origin,
        case when count(*) >= any_value(wanted.min_answered) then any_value(wanted.multiplier) * avg(by_day.value) end
            as aval
    from by_day
    inner join wanted on by_day.paramcd = wanted.paramcd
    inner join meta.score_visit as visit
        on by_day.paramcd = visit.paramcd and by_day.qsdy between visit.window_start_day and visit.window_end_day
    group by by_day.studyid, by_day.usubjid, by_day.paramcd, visit.avisit
),

computed as (
    from by_assessment
    union all by name
    from by_window
),

delivered as (
    select
        usubjid,
        upper(qstestcd) as paramcd,
        upper(trim(visit)) as visit,
        left(qsdtc, 10) as qsdtc,
        max(qsstresn) as value
    from assessed
    where upper(qstestcd) in (select wanted.paramcd from wanted)
    group by all
)

select
    computed.studyid,
    computed.usubjid,
    computed.paramcd,
    computed.visit,
    computed.visitnum,
    computed.qsdtc,
    computed.qsdy,
    computed.avisit,
    computed.n_items,
    computed.n_answered,
    computed.n_lesions,
    computed.n_out_of_range,
    computed.aval,
    delivered.value as delivered,
    -- A delivered total without a value stands for nothing if the items give one.
    delivered.usubjid is not null and (delivered.value is not null or computed.aval is null) as is_delivered,
    abs(computed.aval - delivered.value) < 1e-6 as is_as_delivered,
    struct_extract(computed.origin, 'file') as _source_file,
    struct_extract(computed.origin, 'row') as _source_row
from computed
left join delivered
    on
        computed.usubjid = delivered.usubjid
        and computed.paramcd = delivered.paramcd
        and case
            when computed.avisit is not null then delivered.visit = upper(computed.avisit)
            else
                delivered.visit is not distinct from upper(trim(computed.visit))
                and delivered.qsdtc is not distinct from computed.qsdtc
        end
order by computed.usubjid, computed.paramcd, computed.visitnum, computed.qsdtc, computed.avisit
