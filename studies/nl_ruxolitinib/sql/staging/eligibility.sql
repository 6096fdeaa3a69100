-- Screening form with typed values: what each entry criterion was judged on.
-- grain: one row per usubjid
-- unit: largest_lesion_cm in cm; bsa_pct in percent of body surface area; disease_years in years
-- null: a number is null where the form is empty or holds text
-- column usubjid: Unique subject identifier
-- column screening_dtc: Date of screening, ISO 8601
-- column is_nl_clinical: Necrobiosis lipoidica confirmed clinically
-- column is_nl_histological: Necrobiosis lipoidica confirmed by histology
-- column largest_lesion_cm: Largest diameter of the largest lesion
-- column bsa_pct: Body surface area affected
-- column is_enrolled: The person was enrolled
select
    study.studyid,
    'NLSIM-' || form.SUBJID as usubjid,
    form.SCREENDAT as screening_dtc,
    form.NL_CLINICAL = 'Yes' as is_nl_clinical,
    form.NL_HISTOLOGY = 'Yes' as is_nl_histological,
    try_cast(form.LARGEST_LESION_CM as double) as largest_lesion_cm,
    try_cast(form.BSA_PCT as double) as bsa_pct,
    upper(form.LESION_SITE) as lesion_site,
    form.ULCERATED = 'Yes' as is_ulcerated,
    try_cast(form.DISEASE_YEARS as double) as disease_years,
    -- A form that does not say so has not let anybody in.
    coalesce(form.ENROLLED = 'Yes', false) as is_enrolled,
    form.FAILURE_REASON as failure_reason,
    form._source_file,
    form._source_row
from raw.eligibility as form
cross join meta.study as study
