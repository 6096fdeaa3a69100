-- Identifying columns under other names and in other forms; rows only where a delivery is to fail.
-- grain: one row per usubjid
select
    SUBJID as usubjid,
    PatientName as full_nm,
    split_part(PatientName, ' ', 2) as sur,
    upper("e-mail") as contact,
    try_cast(Geburtsdatum as date) as born,
    regexp_replace(PHONE, '[^0-9]', '', 'g') as digits,
    'see ' || LABEL || ' (' || PatientName || ')' as note,
    AGE as age,
    _source_file,
    _source_row
from raw.people
where STATUS = 'critical'
