-- The genes of each contrast whose expression differs most surely, and every protected gene whatever its place.
-- grain: one row per contrast, feature_id
-- unit: base_mean in normalised counts; log2_fold_change, lfc_se and lfc_shrunken on the log2 scale
-- null: position is null for a protected gene that is not among the top; p_value, p_adjusted and q_value are null where the gene was not tested; lfc_shrunken also where the model has none
-- column position: Place by p-value among the tested genes of the contrast
-- column feature_id: Gene as in omics.feature
-- column symbol: Gene symbol
-- column log2_fold_change: Positive is higher where the contrast has positive weight
-- column q_value: False discovery rate of the gene and all as certain, by adaptive shrinkage
-- column direction: higher or lower, likewise
-- column reason: Why the gene was not tested
-- column is_protected: On the study's list of genes that are tested and shown whatever their counts
-- column is_low_count: Would have been filtered out for its counts
with
ranked as (
    select
        *,
        case
            when p_adjusted is not null
                then row_number() over (
                    partition by contrast
                    order by p_adjusted is null, p_value, abs(statistic) desc, feature_id
                )
        end as place
    from results.differential_expression
)

select
    contrast,
    contrast_title,
    case when place <= 50 then place end as position,
    feature_id,
    symbol,
    base_mean,
    log2_fold_change,
    lfc_se,
    lfc_shrunken,
    statistic,
    p_value,
    p_adjusted,
    q_value,
    case when log2_fold_change > 0 then 'higher' when log2_fold_change < 0 then 'lower' end as direction,
    status,
    reason,
    is_protected,
    is_low_count
from ranked
where place <= 50 or is_protected
