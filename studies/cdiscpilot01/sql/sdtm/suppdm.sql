-- Supplemental qualifiers of demographics: the population flags of the submission.
-- grain: one row per usubjid, qnam
-- null: idvar and idvarval are null: a qualifier belongs to the participant
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
from raw.suppdm
