# Rscript preservation.R <folder>: writes the files of module preservation beside it. See README.md.
suppressPackageStartupMessages(library(WGCNA))
folder <- commandArgs(trailingOnly = TRUE)[1]
reference <- t(as.matrix(read.csv(file.path(folder, "value.csv"), header = FALSE)))
of <- c(rep(1, 70), rep(2, 50), rep(3, 40), rep(4, 35), rep(5, 25), rep(0, 60))
set.seed(23)
samples <- 20
factors <- matrix(rnorm(samples * 5), samples)
# Modules 1 and 4 hold in the test samples with loadings near the first ones, 2 loosely, 3 and 5 not at all.
first <- sapply(1:280, function(g) cor(reference[, g], rowMeans(scale(reference[, of == of[g]]))))
strength <- c(1.5, 0.6, 0, 1.5, 0)
test <- sapply(1:280, function(g) {
  (if (of[g] > 0) strength[of[g]] * first[g] * factors[, of[g]] else 0) + rnorm(samples, sd = 0.8)
})
test <- round(test, 3)
test[3, 5] <- NA; test[c(7, 8), 100] <- NA
write.table(t(test), file.path(folder, "preservation_test.csv"), sep = ",", row.names = FALSE, col.names = FALSE)
colnames(reference) <- colnames(test) <- paste0("G", 1:280)
full <- test; full[is.na(full)] <- 0
calls <- list(
  pearson_unsigned = list(full, "unsigned", "cor", "use = 'p'"),
  pearson_signed_gaps = list(test, "signed", "cor", "use = 'p'"),
  bicor_signed_hybrid = list(full, "signed hybrid", "bicor", "use = 'p', maxPOutliers = 0.1"))
sizes <- NULL
for (name in names(calls)) {
  one <- calls[[name]]
  found <- suppressWarnings(modulePreservation(
    list(ref = list(data = reference), test = list(data = one[[1]])), list(ref = of), networkType = one[[2]],
    corFnc = one[[3]], corOptions = one[[4]], nPermutations = 8, randomSeed = 1, maxGoldModuleSize = 100,
    quickCor = 0, savePermutedStatistics = FALSE, verbose = 0))
  observed <- found$preservation$observed[[1]][[2]]
  observed <- cbind(module = rownames(observed), observed,
    separability = found$testSeparability$observed[[1]][[2]][, 2], found$preservation$Z[[1]][[2]][, 2:4])
  write.csv(format(observed, digits = 15), file.path(folder, paste0("preservation_", name, ".csv")),
    row.names = FALSE, quote = FALSE)
  permuted <- found$permutationDetails$permutedStatistics[[1]][[2]]$regStats
  rows <- expand.grid(module = dimnames(permuted)[[1]], statistic = dimnames(permuted)[[2]],
    permutation = seq_len(dim(permuted)[3]))
  rows$value <- c(permuted)
  rows <- rows[grepl("^propVar.*pres|SignAware.*pres|meanAdj.*pres|kIM$|kME$|(cor.cor|bicor.bicor)$", rows$statistic), ]
  if (name == "bicor_signed_hybrid") write.csv(format(rows, digits = 12), file.path(folder, paste0("permuted_", name, ".csv")), row.names = FALSE,
    quote = FALSE)
}
set.seed(1)
write.table(sample(280, 100), file.path(folder, "preservation_gold.csv"), row.names = FALSE, col.names = FALSE)
