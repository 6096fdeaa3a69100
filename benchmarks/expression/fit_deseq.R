# Fit one model with R's DESeq(); print the seconds of the fit alone and keep the p-values.
suppressMessages(library(DESeq2))
folder <- commandArgs(TRUE)[1]
sheet <- read.csv(file.path(folder, "samples.csv"))
sheet$first <- factor(sheet$first)
sheet$last <- factor(sheet$last)
values <- readBin(file.path(folder, "counts.bin"), "integer", file.size(file.path(folder, "counts.bin")) / 4, size = 4)
counts <- matrix(values, ncol = nrow(sheet), byrow = TRUE)
data <- DESeqDataSetFromMatrix(counts, sheet, ~ first + last)
seconds <- system.time(data <- DESeq(data, quiet = TRUE))["elapsed"]
p <- results(data, cooksCutoff = FALSE, independentFiltering = FALSE)$pvalue
writeBin(as.double(p), file.path(folder, "r.bin"))
cat(seconds, "\n")
