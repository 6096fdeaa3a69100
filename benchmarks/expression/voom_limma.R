# Limma-voom with duplicate correlation on one thread: Rscript voom_limma.R counts.csv design.csv out.csv
# The design's last column is the block, the one before it the effect that is tested. Prints seconds and correlation.
suppressMessages({
  library(limma)
  library(edgeR)
})
file <- commandArgs(trailingOnly = TRUE)
counts <- as.matrix(read.csv(file[1], header = FALSE))
design <- as.matrix(read.csv(file[2], header = FALSE))
block <- design[, ncol(design)]
design <- design[, -ncol(design)]
begin <- proc.time()[["elapsed"]]
y <- calcNormFactors(DGEList(counts))
v <- voom(y, design)
in_search <- system.time(rho <- duplicateCorrelation(v, design, block = block)$consensus)[["elapsed"]]
v <- voom(y, design, block = block, correlation = rho)
in_search <- in_search +
  system.time(second <- duplicateCorrelation(v, design, block = block)$consensus)[["elapsed"]]
fit <- eBayes(lmFit(v, design, block = block, correlation = second))
cat(proc.time()[["elapsed"]] - begin, in_search, second, "\n")
last <- ncol(design)
write.table(cbind(fit$coefficients[, last], fit$t[, last], fit$p.value[, last]), file[3], sep = ",", row.names = FALSE,
            col.names = FALSE)
