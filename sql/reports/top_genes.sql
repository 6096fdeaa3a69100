-- The genes whose expression changed most surely, and every protected gene whatever its place.
-- grain: one row per feature_id
-- unit: base_mean in normalised counts; log2_fold_change and lfc_se on the log2 scale
-- null: position is null for a protected gene that is not among the top; p_value and p_adjusted are null where the gene was not tested
-- column position: Place by p-value among the tested genes
-- column feature_id: Gene as in omics.feature
-- column symbol: Gene symbol
-- column log2_fold_change: Positive is higher at the later visit
-- column direction: higher or lower at the later visit
-- column is_protected: On the study's list of genes that are tested and shown whatever their counts
-- column is_low_count: Would have been filtered out for its counts
with
ranked as (
    select
        *,
        case
            when p_adjusted is not null
                then row_number() over (order by p_adjusted is null, p_value, abs(wald_statistic) desc, feature_id)
        end as place
    from results.treatment_effect_on_expression
)

select
    case when place <= 50 then place end as position,
    feature_id,
    symbol,
    base_mean,
    log2_fold_change,
    lfc_se,
    wald_statistic,
    p_value,
    p_adjusted,
    case when log2_fold_change > 0 then 'higher' when log2_fold_change < 0 then 'lower' end as direction,
    status,
    is_protected,
    is_low_count,
    reference_visit,
    contrast_visit
from ranked
where place <= 50 or is_protected
