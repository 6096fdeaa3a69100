-- What the screening form and the history add to the common variables of adam.adsl.
-- grain: one row per usubjid
-- unit: lesdiam in cm; bsapct in percent of body surface area; durdis in years
-- null: a number is null where the form is empty or holds text
-- column lesloc: Site of the target lesion
-- column lesdiam: Largest diameter of the largest lesion
-- column bsapct: Body surface area affected
-- column durdis: Duration of the disease
-- column ulcerfl: Y: a lesion was ulcerated, N: none was
-- column diabfl: Y: diabetes mellitus in the history, N: none
select
    eligibility.usubjid,
    eligibility.lesion_site as lesloc,
    eligibility.largest_lesion_cm as lesdiam,
    eligibility.bsa_pct as bsapct,
    eligibility.disease_years as durdis,
    case when eligibility.is_ulcerated then 'Y' when not eligibility.is_ulcerated then 'N' end as ulcerfl,
    if(diabetic.subjid is null, 'N', 'Y') as diabfl
from staging.eligibility
left join (
    select distinct SUBJID as subjid
    from raw.medical_history
    where lower(TERM) like '%diabetes%'
) as diabetic on eligibility.usubjid = 'NLSIM-' || diabetic.subjid
