-- Regulators and the weights of their targets.
-- grain: one row per collection, regulator, symbol
-- unit: weight without unit: 1 raises the target, -1 holds it down
-- column collection: Family of regulators that are tested together
-- column regulator: Transcription factor or complex
-- column symbol: Gene symbol of the target
-- column weight: Weight of the target
select
    'interferon_regulators' as collection,
    regulator,
    symbol,
    try_cast(weight as double) as weight,
    _source_file,
    _source_row
from raw.regulators
