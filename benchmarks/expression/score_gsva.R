# Scores by GSVA in R: Rscript score_gsva.R expression.csv sets.csv method scores.csv; prints the seconds.
suppressPackageStartupMessages(library(GSVA))
given <- commandArgs(trailingOnly = TRUE)
expression <- as.matrix(read.csv(given[1], header = FALSE))
rownames(expression) <- as.character(seq_len(nrow(expression)))
lines <- strsplit(readLines(given[2]), ",")
sets <- setNames(lapply(lines, `[`, -1), sapply(lines, `[`, 1))
seconds <- system.time(invisible(capture.output(
  scores <- suppressWarnings(gsva(expression, sets, method = given[3], kcdf = "Gaussian", verbose = FALSE))
)))[["elapsed"]]
write.table(format(scores, digits = 15), given[4], sep = ",", row.names = FALSE, col.names = FALSE, quote = FALSE)
cat(seconds, "\n")
