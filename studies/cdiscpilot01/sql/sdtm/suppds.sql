-- Supplemental qualifiers of disposition: the entry criterion that was not met.
-- grain: one row per usubjid, idvarval, qnam
-- null: qeval is null: the value was collected
-- column _source_file: Archive and member that delivered the record
-- column _source_row: Observation number in the member, from 1
select
    STUDYID as studyid,
    RDOMAIN as rdomain,
    USUBJID as usubjid,
    IDVAR as idvar,
    IDVARVAL as idvarval,
    QNAM as qnam,
    QLABEL as qlabel,
    QVAL as qval,
    QORIG as qorig,
    QEVAL as qeval,
    _source_file,
    _source_row
from raw.suppds
