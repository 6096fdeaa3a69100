-- Which adverse events belong to which query of special interest that the study declares.
-- An event belongs if its preferred term contains a declared text, or its system organ class is declared and
-- its preferred term is not among the excluded ones; letter case does not count. An event may belong to several.
-- grain: one row per usubjid, aeseq, paramcd
-- column usubjid: Unique subject identifier
-- column aeseq: Sequence number of the event in sdtm.ae
-- column paramcd: Query, short name; the parameter of adam.adtte
-- column name: Query
-- column query_order: Place of the query in the study's list, from 1
with
query as (
    select
        paramcd,
        name,
        min(place) as query_order,
        coalesce(list(text) filter (where rule = 'contains'), []) as contained,
        coalesce(list(text) filter (where rule = 'soc'), []) as classes,
        coalesce(list(text) filter (where rule = 'excluding'), []) as excluded
    from (select *, row_number() over () as place from meta.ae_query)
    group by paramcd, name
)

select
    ae.usubjid,
    ae.aeseq,
    query.paramcd,
    query.name,
    dense_rank() over (order by query.query_order) as query_order
from sdtm.ae as ae
inner join query
    on
        len(list_filter(query.contained, lambda text : contains(upper(ae.aedecod), text))) > 0
        or (
            list_contains(query.classes, upper(ae.aebodsys))
            and not list_contains(query.excluded, upper(coalesce(ae.aedecod, '')))
        )
order by ae.usubjid, ae.aeseq, query_order
