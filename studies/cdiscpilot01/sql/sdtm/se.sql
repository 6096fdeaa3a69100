-- Elements of the design that each participant went through.
-- grain: one row per usubjid, seseq
-- unit: sestdy and seendy in days
-- null: seendtc is null where the element has no recorded end
-- column _source_file: Archive and member that delivered the record
-- column _source_row: Observation number in the member, from 1
select
    STUDYID as studyid,
    DOMAIN as domain,
    USUBJID as usubjid,
    try_cast(SESEQ as integer) as seseq,
    ETCD as etcd,
    ELEMENT as element,
    SEUPDES as seupdes,
    EPOCH as epoch,
    SESTDTC as sestdtc,
    SEENDTC as seendtc,
    try_cast(SESTDY as integer) as sestdy,
    try_cast(SEENDY as integer) as seendy,
    _source_file,
    _source_row
from raw.se
