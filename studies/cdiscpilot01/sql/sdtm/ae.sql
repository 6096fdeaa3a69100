-- Adverse events as reported and as coded, of the original submission: an event is recorded anew whenever its
-- report changed, under the same sponsor's identifier (aespid).
-- grain: one row per usubjid, aeseq
-- unit: aestdy and aeendy in days
-- null: aestdtc may be a year or a month only; aestdy is then null; aeendtc and aeendy are null where the
--   end is not known
-- column _source_file: File that delivered the record
-- column _source_row: Observation number in the file, from 1
select
    STUDYID as studyid,
    DOMAIN as domain,
    USUBJID as usubjid,
    try_cast(AESEQ as integer) as aeseq,
    AESPID as aespid,
    AETERM as aeterm,
    AELLT as aellt,
    try_cast(AELLTCD as integer) as aelltcd,
    AEDECOD as aedecod,
    try_cast(AEPTCD as integer) as aeptcd,
    AEHLT as aehlt,
    try_cast(AEHLTCD as integer) as aehltcd,
    AEHLGT as aehlgt,
    try_cast(AEHLGTCD as integer) as aehlgtcd,
    AEBODSYS as aebodsys,
    try_cast(AEBDSYCD as integer) as aebdsycd,
    AESOC as aesoc,
    try_cast(AESOCCD as integer) as aesoccd,
    AESEV as aesev,
    AESER as aeser,
    AEACN as aeacn,
    AEREL as aerel,
    AEOUT as aeout,
    AESCAN as aescan,
    AESCONG as aescong,
    AESDISAB as aesdisab,
    AESDTH as aesdth,
    AESHOSP as aeshosp,
    AESLIFE as aeslife,
    AESOD as aesod,
    AEDTC as aedtc,
    AESTDTC as aestdtc,
    AEENDTC as aeendtc,
    try_cast(AESTDY as integer) as aestdy,
    try_cast(AEENDY as integer) as aeendy,
    _source_file,
    _source_row
from raw.ae
