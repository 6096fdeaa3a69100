-- The adverse events of the original submission beside those of the update, record by record.
-- The update keeps the records' sequence numbers and drops those that a later report of the same event repeats:
-- of each event (AESPID) one record per severity is left, the last reported.
-- grain: one row per usubjid, aeseq
-- null: the columns of a side are null where it has no such record; kept_aeseq is null where no record stands for
--   this one
-- column usubjid: Unique subject identifier
-- column aeseq: Sequence number, the same in both
-- column aespid: Sponsor's identifier of the event
-- column aedecod: Preferred term
-- column aesev: Severity
-- column aestdtc: Start of the event
-- column aedtc: Day of the report
-- column outcome: unchanged, changed, superseded, repeated, dropped or added
-- column differing: Variables whose values differ between the two, of those that both deliver
-- column kept_aeseq: Record of the update that stands for one that it dropped
-- column explanation: Why the two differ, in words
with
compared as (
    select
        coalesce(original.USUBJID, updated.USUBJID) as usubjid,
        try_cast(coalesce(original.AESEQ, updated.AESEQ) as integer) as aeseq,
        coalesce(original.AESPID, updated.AESPID) as aespid,
        coalesce(original.AEDECOD, updated.AEDECOD) as aedecod,
        coalesce(original.AESEV, updated.AESEV) as aesev,
        coalesce(original.AESTDTC, updated.AESTDTC) as aestdtc,
        coalesce(original.AEENDTC, updated.AEENDTC) as aeendtc,
        coalesce(original.AEDTC, updated.AEDTC) as aedtc,
        original.USUBJID is not null as is_original,
        updated.USUBJID is not null as is_updated,
        list_filter([
            case when original.AESPID is distinct from updated.AESPID then 'AESPID' end,
            case when original.AETERM is distinct from updated.AETERM then 'AETERM' end,
            case when original.AELLT is distinct from updated.AELLT then 'AELLT' end,
            case when original.AEDECOD is distinct from updated.AEDECOD then 'AEDECOD' end,
            case when original.AEHLT is distinct from updated.AEHLT then 'AEHLT' end,
            case when original.AEHLGT is distinct from updated.AEHLGT then 'AEHLGT' end,
            case when original.AEBODSYS is distinct from updated.AEBODSYS then 'AEBODSYS' end,
            case when original.AESOC is distinct from updated.AESOC then 'AESOC' end,
            case when original.AESEV is distinct from updated.AESEV then 'AESEV' end,
            case when original.AESER is distinct from updated.AESER then 'AESER' end,
            case when original.AEACN is distinct from updated.AEACN then 'AEACN' end,
            case when original.AEREL is distinct from updated.AEREL then 'AEREL' end,
            case when original.AEOUT is distinct from updated.AEOUT then 'AEOUT' end,
            case when original.AESCAN is distinct from updated.AESCAN then 'AESCAN' end,
            case when original.AESCONG is distinct from updated.AESCONG then 'AESCONG' end,
            case when original.AESDISAB is distinct from updated.AESDISAB then 'AESDISAB' end,
            case when original.AESDTH is distinct from updated.AESDTH then 'AESDTH' end,
            case when original.AESHOSP is distinct from updated.AESHOSP then 'AESHOSP' end,
            case when original.AESLIFE is distinct from updated.AESLIFE then 'AESLIFE' end,
            case when original.AESOD is distinct from updated.AESOD then 'AESOD' end,
            case when original.AEDTC is distinct from updated.AEDTC then 'AEDTC' end,
            case when original.AESTDTC is distinct from updated.AESTDTC then 'AESTDTC' end,
            case when original.AEENDTC is distinct from updated.AEENDTC then 'AEENDTC' end,
            case when original.AESTDY is distinct from updated.AESTDY then 'AESTDY' end,
            case when original.AEENDY is distinct from updated.AEENDY then 'AEENDY' end
        ], lambda name : name is not null) as different,
        coalesce(original._source_file, updated._source_file) as _source_file,
        coalesce(original._source_row, updated._source_row) as _source_row
    from raw.ae as original
    full outer join raw.ae_updated as updated
        on original.USUBJID = updated.USUBJID and original.AESEQ = updated.AESEQ
),

standing as (
    select
        dropped.usubjid,
        dropped.aeseq,
        arg_max(kept.aeseq, (kept.aedtc, kept.aeseq)) filter (where kept.aespid = dropped.aespid) as same_event,
        arg_max(kept.aeseq, (kept.aedtc, kept.aeseq)) filter (where kept.aespid != dropped.aespid) as same_words
    from compared as dropped
    inner join compared as kept
        on
            dropped.usubjid = kept.usubjid
            and dropped.aesev is not distinct from kept.aesev
            and (
                dropped.aespid = kept.aespid
                or (dropped.aedecod = kept.aedecod and dropped.aestdtc is not distinct from kept.aestdtc)
            )
    where dropped.is_original and not dropped.is_updated and kept.is_updated
    group by dropped.usubjid, dropped.aeseq
)

select
    compared.usubjid,
    compared.aeseq,
    compared.aespid,
    compared.aedecod,
    compared.aesev,
    compared.aestdtc,
    compared.aedtc,
    case
        when compared.is_original and compared.is_updated and len(compared.different) = 0 then 'unchanged'
        when compared.is_original and compared.is_updated then 'changed'
        when compared.is_updated then 'added'
        when standing.same_event is not null then 'superseded'
        when standing.same_words is not null then 'repeated'
        else 'dropped'
    end as outcome,
    case when outcome = 'changed' then array_to_string(compared.different, ', ') end as differing,
    coalesce(standing.same_event, standing.same_words) as kept_aeseq,
    case outcome
        when 'unchanged' then 'the same in both'
        when 'changed' then 'the update has other values'
        when 'added' then 'in the update only'
        when 'superseded' then 'the same event in the same severity was reported again as record ' || kept_aeseq
        when 'repeated' then 'the same term, start and severity stand under another identifier as record ' || kept_aeseq
        else 'no record of the update stands for it'
    end as explanation,
    compared._source_file,
    compared._source_row
from compared
left join standing on compared.usubjid = standing.usubjid and compared.aeseq = standing.aeseq
order by compared.usubjid, compared.aeseq
