-- Visits that took place.
-- grain: one row per usubjid, visitnum
-- unit: visitdy, svstdy and svendy in days
-- null: svstdy and svendy are null for screen failures; svupdes is null for planned visits
-- column _source_file: Archive and member that delivered the record
-- column _source_row: Observation number in the member, from 1
select
    STUDYID as studyid,
    DOMAIN as domain,
    USUBJID as usubjid,
    try_cast(VISITNUM as double) as visitnum,
    VISIT as visit,
    try_cast(VISITDY as integer) as visitdy,
    EPOCH as epoch,
    SVSTDTC as svstdtc,
    SVENDTC as svendtc,
    try_cast(SVSTDY as integer) as svstdy,
    try_cast(SVENDY as integer) as svendy,
    SVUPDES as svupdes,
    _source_file,
    _source_row
from raw.sv
