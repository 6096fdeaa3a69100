# Rscript make.R <folder>: writes the files beside it. See README.md.
suppressPackageStartupMessages(library(WGCNA))
folder <- commandArgs(trailingOnly = TRUE)[1]
set.seed(11)
samples <- 24
factors <- matrix(rnorm(samples * 5), samples)
of <- c(rep(1, 70), rep(2, 50), rep(3, 40), rep(4, 35), rep(5, 25), rep(0, 60))
x <- sapply(of, function(m) {
  loading <- runif(1, 0.5, 1.4) * sample(c(1, 1, 1, -1), 1)
  (if (m > 0) loading * factors[, m] else 0) + rnorm(samples, sd = 0.9)
})
x[, 3] <- x[, 3] + c(8, rep(0, samples - 1))
x[, 200] <- c(rep(1, 15), rnorm(samples - 15))
x <- round(x, 3)
write.table(t(x), file.path(folder, "value.csv"), sep = ",", row.names = FALSE, col.names = FALSE)
gaps <- x[, c(1:8, 121:126, 200)]
gaps[2, 1] <- NA; gaps[c(5, 9), 2] <- NA; gaps[c(5, 9), 3] <- NA; gaps[20, 12] <- NA
write.table(t(gaps), file.path(folder, "gaps.csv"), sep = ",", row.names = FALSE, col.names = FALSE)
for (limit in c(1, 0.1, 0.05))
  write.table(format(suppressWarnings(bicor(gaps, maxPOutliers = limit, use = "p")), digits = 15),
    file.path(folder, paste0("bicor_", limit, ".csv")), sep = ",", row.names = FALSE, col.names = FALSE, quote = FALSE)
write.table(format(cor(gaps, use = "p"), digits = 15), file.path(folder, "pearson.csv"), sep = ",",
  row.names = FALSE, col.names = FALSE, quote = FALSE)
soft <- pickSoftThreshold(x, powerVector = c(1:10), verbose = 0)$fitIndices
write.csv(format(soft, digits = 12), file.path(folder, "soft_threshold.csv"), row.names = FALSE, quote = FALSE)
grid <- expand.grid(deep = 0:4, respects = c(TRUE, FALSE), network = c("unsigned", "signed", "signed hybrid"),
  stringsAsFactors = FALSE)
heights <- labels <- NULL
for (i in seq_len(nrow(grid))) {
  one <- grid[i, ]
  found <- blockwiseModules(x, power = c(unsigned = 5, signed = 10, "signed hybrid" = 5)[[one$network]],
    networkType = one$network, TOMType = if (one$deep %% 2) "unsigned" else "signed",
    corType = if (one$respects) "bicor" else "pearson", maxPOutliers = 0.1, minModuleSize = 8 + one$deep,
    deepSplit = one$deep, pamRespectsDendro = one$respects, mergeCutHeight = 0.25, numericLabels = TRUE, verbose = 0)
  labels <- cbind(labels, found$unmergedColors, found$colors)
  heights <- cbind(heights, found$dendrograms[[1]]$height)
}
write.table(labels, file.path(folder, "labels.csv"), sep = ",", row.names = FALSE, col.names = FALSE)
write.table(format(heights[, c(1, 12, 23)], digits = 12), file.path(folder, "heights.csv"), sep = ",",
  row.names = FALSE, col.names = FALSE, quote = FALSE)
write.csv(grid, file.path(folder, "options.csv"), row.names = FALSE, quote = FALSE)
