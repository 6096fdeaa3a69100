"""Statistics of gene sets: scores of samples, activities of regulators, enrichment, and what overlaps."""
