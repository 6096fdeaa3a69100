-- Trial summary: what the study is, parameter by parameter.
-- grain: one row per tsparmcd, tsseq
-- null: tsval is null where tsvalnf says why
-- column _source_file: Archive and member that delivered the record
-- column _source_row: Observation number in the member, from 1
select
    STUDYID as studyid,
    DOMAIN as domain,
    try_cast(TSSEQ as integer) as tsseq,
    TSPARMCD as tsparmcd,
    TSPARM as tsparm,
    TSVAL as tsval,
    TSVALNF as tsvalnf,
    TSVALCD as tsvalcd,
    TSVCDREF as tsvcdref,
    TSVCDVER as tsvcdver,
    _source_file,
    _source_row
from raw.ts
