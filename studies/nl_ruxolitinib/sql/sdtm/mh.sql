-- Diseases beside and before necrobiosis lipoidica, diabetes among them.
-- grain: one row per usubjid, mhseq
-- null: mhstdtc is null where the year is not known
-- column mhdecod: Disease, as the form lists it
-- column mhstdtc: Year of onset
-- column mhenrf: ONGOING: present at entry
select
    study.studyid,
    'MH' as domain,
    'NLSIM-' || medical_history.SUBJID as usubjid,
    row_number() over (
        partition by medical_history.SUBJID
        order by try_cast(medical_history.MH_NO as integer), medical_history._source_row
    ) as mhseq,
    medical_history.TERM as mhterm,
    medical_history.TERM as mhdecod,
    medical_history.SOC as mhbodsys,
    case
        when medical_history.TERM like '%diabetes mellitus' then 'DIABETES'
        when medical_history.TERM = 'Necrobiosis lipoidica' then 'PRIMARY DIAGNOSIS'
        else 'GENERAL'
    end as mhcat,
    medical_history.START_YEAR as mhstdtc,
    case medical_history.ONGOING when 'Y' then 'ONGOING' when 'N' then 'BEFORE' end as mhenrf,
    medical_history._source_file,
    medical_history._source_row
from raw.medical_history
cross join meta.study as study
