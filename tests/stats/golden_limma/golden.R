# Writes the golden files beside this script: see README.md.
suppressMessages({
  library(limma)
  library(edgeR)
  library(statmod)
})
RNGversion("4.2.2")
genes <- 150
# Genes whose fits are written down; the first fifteen are hypervariable.
kept <- 40

# Counts with subjects that differ, a mean-variance relation, and a tenth of the genes hypervariable.
counts_of <- function(seed, samples, subject, effect) {
  set.seed(seed)
  level <- rnorm(genes, 4.5, 1.6)
  spread <- sqrt(.05 * 8 / rchisq(genes, 8))
  spread[1:15] <- 4 * spread[1:15]
  of_subject <- matrix(rnorm(genes * max(subject)), genes)[, subject] * spread
  own <- matrix(rnorm(genes * samples), genes) * spread
  changed <- rep(c(1, 0, 0, -.7, 0), length.out = genes)
  library <- exp(rnorm(samples, 0, .4))
  mean <- exp(level + of_subject + own + outer(changed, effect)) * rep(library, each = genes)
  matrix(rpois(genes * samples, mean), genes)
}

data_set <- function(name, seed, subject, columns, rotated = NULL) {
  design <- cbind(intercept = 1, columns)
  list(name = name, subject = subject, design = design, rotated = rotated,
       counts = counts_of(seed, length(subject), subject, columns[, ncol(columns)]))
}

pairs <- function(n) rep(1:n, each = 2)
after <- function(n) rep(0:1, n)
lost <- -c(3, 8, 14)
four <- rep(1:6, each = 4)[-c(2, 7, 8, 17, 23)]
tissue <- rep(c(0, 0, 1, 1), 6)[-c(2, 7, 8, 17, 23)]
visit <- rep(c(0, 1, 0, 1), 6)[-c(2, 7, 8, 17, 23)]
# The contrast of the last two cells as a coefficient: what contrasts.fit only approximates under weights.
cells <- cbind(intercept = 1, tissue = tissue, base = (1 - tissue) * visit, lesion = tissue * visit)
age <- rep(c(34, 51, 47, 62, 29, 44, 58, 39, 66, 31), each = 2)
sex <- rep(c(0, 1, 1, 0, 1, 0, 0, 1, 1, 0), each = 2)
sets <- list(
  data_set("complete", 1, pairs(8), cbind(group = after(8))),
  data_set("missing", 2, pairs(8)[lost], cbind(group = after(8)[lost])),
  data_set("factorial", 3, four, cbind(tissue = tissue, visit = visit, both = tissue * visit), cells),
  data_set("covariates", 4, pairs(10)[-5], cbind(age = age, sex = sex, group = after(10))[-5, ]),
  data_set("three_pairs", 5, pairs(3), cbind(group = after(3))),
  data_set("unpaired", 6, 1:10, cbind(group = rep(0:1, each = 5)))
)

# The correlation of every gene with the search run to its end.
to_the_end <- function(v, design, block) {
  Z <- model.matrix(~ 0 + factor(block))
  sapply(seq_len(nrow(v$E)), function(i) {
    s <- suppressWarnings(mixedModel2Fit(v$E[i, ], design, Z, v$weights[i, ], only.varcomp = TRUE, tol = 1e-16,
                                         maxit = 2000)$varcomp)
    s[2] / sum(s)
  })
}
consensus <- function(rho, block) {
  rho <- pmin(pmax(rho, 1 / (1 - max(table(block))) + .01), .99)
  tanh(mean(atanh(rho), trim = .15, na.rm = TRUE))
}

digits <- function(x) if (is.numeric(x)) signif(x, 15) else x
write_rows <- function(rows, file) {
  rows <- do.call(rbind, rows)
  rows[] <- lapply(rows, digits)
  write.csv(rows, file, row.names = FALSE, quote = FALSE)
}

samples <- counts <- summary <- fits <- weights <- by_gene <- libraries <- list()
for (set in sets) {
  n <- ncol(set$counts)
  design <- set$design
  samples[[set$name]] <- data.frame(
    data = set$name, sample = rep(1:n, ncol(design)), subject = rep(set$subject, ncol(design)),
    column = rep(colnames(design), each = n), value = c(design))
  counts[[set$name]] <- data.frame(data = set$name, gene = rep(1:genes, n), sample = rep(1:n, each = genes),
                                   count = c(set$counts))
  y <- calcNormFactors(DGEList(set$counts))
  libraries[[set$name]] <- data.frame(data = set$name, sample = 1:n, factor = y$samples$norm.factors)
  keep <- filterByExpr(set$counts, design = design)
  keep_group <- filterByExpr(set$counts, group = design[, ncol(design)])
  y$counts <- y$counts[keep, ]
  v <- voom(y, design)
  block <- if (set$name != "unpaired") set$subject
  rho <- c(0, 0, 0)
  w <- v
  if (!is.null(block)) {
    rho[1] <- duplicateCorrelation(v, design, block = block)$consensus
    gene <- to_the_end(v, design, block)
    rho[2] <- consensus(gene, block)
    limma <- rep(NA, length(gene))
    limma[] <- tanh(duplicateCorrelation(v, design, block = block)$atanh.correlations)
    by_gene[[set$name]] <- data.frame(data = set$name, gene = which(keep), to_the_end = gene, limma = limma)
    w <- voom(y, design, block = block, correlation = rho[1])
    rho[3] <- duplicateCorrelation(w, design, block = block)$consensus
  }
  weights[[set$name]] <- data.frame(data = set$name, gene = rep(which(keep)[1:5], n), sample = rep(1:n, each = 5),
                                    expression = c(w$E[1:5, ]), weight = c(w$weights[1:5, ]))
  summary[[set$name]] <- data.frame(data = set$name, first = rho[1], first_to_the_end = rho[2], second = rho[3])
  add <- function(name, design, coefficient, correlation, ...) {
    fit <- eBayes(lmFit(w, design, block = block, correlation = correlation), ...)
    fits[[paste(set$name, name, coefficient)]] <<- data.frame(
      data = set$name, variant = name, gene = which(keep), coefficient = coefficient,
      estimate = fit$coefficients[, coefficient],
      error = fit$stdev.unscaled[, coefficient] * sqrt(fit$s2.post),
      df = fit$df.total, p = fit$p.value[, coefficient])[1:kept, ]
  }
  last <- colnames(design)[ncol(design)]
  add("plain", design, last, rho[1])
  add("second", design, last, rho[3])
  add("trend", design, last, rho[1], trend = TRUE)
  add("robust", design, last, rho[1], robust = TRUE)
  add("both", design, last, rho[1], robust = TRUE, trend = TRUE)
  if (!is.null(set$rotated)) add("plain", set$rotated, "lesion", rho[1])
  counts[[set$name]]$keep <- keep
  counts[[set$name]]$keep_group <- keep_group
}
write_rows(samples, "samples.csv")
write_rows(libraries, "libraries.csv")
write_rows(summary, "correlations.csv")
write_rows(by_gene, "gene_correlations.csv")
write_rows(weights, "weights.csv")
write_rows(fits, "fits.csv")
# Counts wide, by gene.
for (name in names(counts)) {
  wide <- matrix(counts[[name]]$count, genes)
  colnames(wide) <- paste0("s", seq_len(ncol(wide)))
  keeps <- counts[[name]][1:genes, c("keep", "keep_group")]
  write.csv(cbind(wide, 1 * as.matrix(keeps)), paste0("counts_", name, ".csv"), row.names = FALSE, quote = FALSE)
}
# Stopping distances of cars: many equal x.
smooth <- function(...) lowess(cars$speed, cars$dist, ...)$y
write_rows(list(data.frame(x = cars$speed, y = cars$dist, plain = smooth(), narrow = smooth(f = .2),
                           coarse = smooth(f = .5, iter = 0, delta = 3))), "lowess.csv")
