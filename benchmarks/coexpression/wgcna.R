# Rscript wgcna.R <value.f64> <genes> <samples> <labels.csv>: prints seconds of the modules and of the power table.
suppressPackageStartupMessages(library(WGCNA))
given <- commandArgs(trailingOnly = TRUE)
genes <- as.integer(given[2]); samples <- as.integer(given[3])
x <- matrix(readBin(given[1], "double", genes * samples), samples, genes)
capture.output(enableWGCNAThreads(2))
table <- system.time(capture.output(
  pickSoftThreshold(x, powerVector = c(1:10, seq(12, 20, 2)), networkType = "signed hybrid", verbose = 0)))[["elapsed"]]
course <- system.time(capture.output(found <- blockwiseModules(x, power = 8, networkType = "signed hybrid",
  TOMType = "signed", minModuleSize = 30, mergeCutHeight = 0.25, maxBlockSize = genes + 1, numericLabels = TRUE,
  verbose = 0)))[["elapsed"]]
write.csv(cbind(found$unmergedColors, found$colors), given[4], row.names = FALSE)
status <- readLines("/proc/self/status")
peak <- as.numeric(gsub("[^0-9]", "", status[startsWith(status, "VmHWM")])) / 1024
cat(course, table, peak, "\n")
