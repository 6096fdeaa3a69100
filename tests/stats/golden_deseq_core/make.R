# Simulated counts and what R's DESeq2 makes of them. Run in this folder: Rscript make.R
suppressMessages(library(DESeq2))

GENES <- 240

counts_of <- function(seed, samples, depth = 5, subject = NULL, effect = NULL) {
  set.seed(seed)
  n <- nrow(samples)
  mean <- exp(rnorm(GENES, depth, 1.6))
  dispersion <- (.04 + 2 / mean) * exp(rnorm(GENES, 0, .6))
  log_mean <- matrix(log(mean), GENES, n)
  if (!is.null(subject)) {
    of_subject <- matrix(rnorm(GENES * nlevels(subject), 0, .4), GENES)
    log_mean <- log_mean + of_subject[, as.integer(subject)]
  }
  size <- ifelse(runif(GENES) < .15, rnorm(GENES, 0, 1.2), 0)
  log_mean <- log_mean + outer(size, effect)
  log_mean <- log_mean + matrix(rnorm(n, 0, .3), GENES, n, byrow = TRUE)
  drawn <- rnbinom(GENES * n, mu = exp(log_mean), size = rep(1 / dispersion, n))
  matrix(as.integer(drawn), GENES)
}

number <- function(x) if (is.numeric(x)) formatC(x, digits = 11, format = "g") else x

save <- function(name, counts, samples, design) {
  matrix <- model.matrix(design, samples)
  reduced <- matrix[, -ncol(matrix), drop = FALSE]
  data <- DESeqDataSetFromMatrix(counts, samples, design)
  data <- suppressMessages(DESeq(data, quiet = TRUE))
  result <- results(data, alpha = .05, independentFiltering = FALSE)
  genes <- as.data.frame(mcols(data))
  used <- if ("replaceCounts" %in% assayNames(data)) assays(data)$replaceCounts else counts(data)
  present <- which(rowSums(used) > 0)

  # The adjusted likelihood at the gene-wise estimate, before any replacement.
  first <- estimateSizeFactors(DESeqDataSetFromMatrix(counts, samples, design))
  first <- suppressMessages(estimateDispersionsGeneEst(first, quiet = TRUE))
  alpha <- mcols(first)$dispGeneEst
  likelihood <- rep(NA, GENES)
  some <- which(!is.na(alpha))
  at <- DESeq2:::fitDispWrapper(
    ySEXP = counts(first)[some, ], xSEXP = matrix, mu_hatSEXP = assays(first)$mu[some, ],
    log_alphaSEXP = log(alpha)[some], log_alpha_prior_meanSEXP = log(alpha)[some],
    log_alpha_prior_sigmasqSEXP = 1, min_log_alphaSEXP = log(1e-9), kappa_0SEXP = 1, tolSEXP = 1e-6,
    maxitSEXP = 1, usePriorSEXP = FALSE, weightsSEXP = matrix(1, length(some), ncol(counts)),
    useWeightsSEXP = FALSE, weightThresholdSEXP = .01, useCRSEXP = TRUE)
  likelihood[some] <- at$initial_lp

  ratio <- if (ncol(reduced) > 0 && is.null(assays(data)$replaceCounts)) {
    dispersed <- data
    mcols(dispersed) <- mcols(dispersed)[, mcols(mcols(dispersed))$type != "results"]
    test <- nbinomLRT(dispersed, full = matrix, reduced = reduced, quiet = TRUE)
    mcols(test)$LRTStatistic
  } else rep(NA, GENES)

  is_replaced <- if (is.null(genes$replace)) rep(FALSE, GENES) else genes$replace %in% TRUE
  table <- data.frame(
    base_mean = genes$baseMean, gene_wise_first = alpha, likelihood_first = likelihood,
    gene_wise = genes$dispGeneEst, fitted = genes$dispFit, shrunken = genes$dispMAP,
    dispersion = genes$dispersion, is_outlier = as.integer(genes$dispOutlier), converged = as.integer(genes$betaConv),
    log2_fold_change = result$log2FoldChange, standard_error = result$lfcSE, statistic = result$stat,
    p_value = result$pvalue, likelihood_ratio = ratio, is_replaced = as.integer(is_replaced))
  table[] <- lapply(table, number)
  write.csv(table, paste0(name, "_genes.csv"), row.names = FALSE, quote = FALSE)
  write.table(counts, paste0(name, "_counts.csv"), sep = ",", row.names = FALSE, col.names = FALSE)
  sheet <- data.frame(size_factor = number(sizeFactors(data)), matrix, check.names = FALSE)
  write.csv(sheet, paste0(name, "_samples.csv"), row.names = FALSE, quote = FALSE)
  curve <- dispersionFunction(data)
  shared <- data.frame(
    kind = attr(curve, "fitType"), prior_variance = number(attr(curve, "dispPriorVar")),
    residual_variance = number(attr(curve, "varLogDispEsts")))
  write.csv(shared, paste0(name, "_shared.csv"), row.names = FALSE, quote = FALSE)
}

paired <- function(pairs) {
  data.frame(subject = factor(rep(seq_len(pairs), 2)), visit = factor(rep(c("before", "after"), each = pairs),
             levels = c("before", "after")))
}
groups <- function(each) data.frame(group = factor(rep(c("control", "treated"), each = each)))
second <- function(samples, column) as.integer(samples[[column]]) - 1

six <- paired(6)
save("six_pairs", counts_of(1, six, subject = six$subject, effect = second(six, "visit")), six, ~ subject + visit)

three <- paired(3)
save("three_pairs", counts_of(2, three, subject = three$subject, effect = second(three, "visit")), three,
     ~ subject + visit)

missing <- droplevels(paired(7)[-c(3, 13), ])
save("missing_pair", counts_of(3, missing, subject = missing$subject, effect = second(missing, "visit")), missing,
     ~ subject + visit)

four <- groups(4)
save("four_against_four", counts_of(4, four, effect = second(four, "group")), four, ~ group)

eight <- groups(8)
with_outliers <- counts_of(5, eight, effect = second(eight, "group"))
for (gene in c(3, 50, 111)) with_outliers[gene, 1 + gene %% 16] <- with_outliers[gene, 1 + gene %% 16] * 60L + 900L
save("eight_with_outliers", with_outliers, eight, ~ group)

set.seed(6)
covariate <- data.frame(age = round(rnorm(12, 50, 10)) / 10, group = factor(rep(c("control", "treated"), 6)))
save("covariate", counts_of(6, covariate, effect = second(covariate, "group")), covariate, ~ age + group)

save("shallow", counts_of(7, six, depth = 1.5, subject = six$subject, effect = second(six, "visit")), six,
     ~ subject + visit)
