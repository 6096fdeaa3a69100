-- Characteristics of the disease at screening, one per row.
-- grain: one row per usubjid, scseq
-- unit: scstresn in scstresu
-- null: scorres is null where the form is empty; scstresn is null for a characteristic that is no number
-- column sctestcd: Characteristic, short name
-- column sctest: Characteristic
-- column scorres: Value as recorded
with characteristic as (
    select
        form.usubjid,
        form.studyid,
        form.screening_dtc,
        test.*,
        form._source_file,
        form._source_row
    from staging.eligibility as form,
        lateral (
            values
            (1, 'LESMAX', 'Largest lesion, largest diameter', form.largest_lesion_cm, null, 'cm'),
            (2, 'BSA', 'Body surface area affected', form.bsa_pct, null, '%'),
            (3, 'NLYEARS', 'Years since onset of necrobiosis lipoidica', form.disease_years, null, 'years'),
            (4, 'NLSITE', 'Site of the target lesion', null, form.lesion_site, null),
            (5, 'NLULCER', 'Ulceration', null, if(form.is_ulcerated, 'Y', 'N'), null)
        ) as test (scseq, sctestcd, sctest, number, word, scstresu)
)

select
    studyid,
    'SC' as domain,
    usubjid,
    scseq,
    sctestcd,
    sctest,
    coalesce(word, number::varchar) as scorres,
    scstresu as scorresu,
    coalesce(word, number::varchar) as scstresc,
    number as scstresn,
    scstresu,
    screening_dtc as scdtc,
    _source_file,
    _source_row
from characteristic
