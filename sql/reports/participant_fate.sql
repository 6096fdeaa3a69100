-- How far each participant came, which analysis sets hold them, and why they went no further.
-- grain: one row per usubjid
-- null: arm and arm_position are null for who was not enrolled; stage_left and reason for who completed
-- column usubjid: Unique subject identifier
-- column arm: Planned treatment
-- column arm_position: Order of the arms: the dose, else the place of the arm in the design
-- column is_enrolled: In adam.adsl; who is only in sdtm.dm was screened and not enrolled
-- column is_treated: In the safety set
-- column is_completed: Treated, and completed the study
-- column stage_left: The last stage reached by those who went no further: Screened, Enrolled or Treated
-- column reason: Why the participant went no further
with
fate as (
    select
        dm.usubjid,
        adsl.trt01p as arm,
        adsl.trt01pn as arm_position,
        adsl.usubjid is not null as is_enrolled,
        coalesce(adsl.saffl = 'Y', false) as is_treated,
        coalesce(is_treated and adsl.eosstt = 'COMPLETED', false) as is_completed,
        coalesce(adsl.ittfl = 'Y', false) as is_in_intention_to_treat_set,
        coalesce(adsl.fasfl = 'Y', false) as is_in_full_analysis_set,
        coalesce(adsl.efffl = 'Y', false) as is_in_efficacy_set,
        coalesce(adsl.pprotfl = 'Y', false) as is_in_per_protocol_set,
        coalesce(adsl.bmevalfl = 'Y', false) as is_biomarker_evaluable,
        case
            when not is_enrolled then 'Screened'
            when not is_treated then 'Enrolled'
            when not is_completed then 'Treated'
        end as stage_left,
        case
            when not is_enrolled
                then case upper(dm.armcd) when 'NOTASSGN' then 'Not assigned' else 'Screen failure' end
            when not is_treated then 'Never treated'
            when adsl.eosstt = 'ONGOING' then 'Still in the study'
            when not is_completed then coalesce(adsl.dcsreas, 'Reason not recorded')
        end as reason
    from sdtm.dm as dm
    left join adam.adsl as adsl on dm.usubjid = adsl.usubjid
)

select
    -- SDTM writes its decodes in capitals.
    * replace (upper(left(reason, 1)) || lower(substr(reason, 2)) as reason)
from fate
order by usubjid
