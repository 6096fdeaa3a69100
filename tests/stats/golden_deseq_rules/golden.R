# Writes the CSV files of this folder; see README.md. Run in this folder: Rscript golden.R
suppressMessages({library(DESeq2); library(locfit)})
full <- function(frame) as.data.frame(lapply(frame, function(x) if (is.double(x)) format(x, digits = 17, trim = TRUE) else x))
put <- function(frame, name) write.csv(full(frame), name, row.names = FALSE, quote = FALSE)

simulate <- function(seed, genes, data, formula, depth = 1, scatter = .5, level = function(m) .05 + 2 / m, effect = 0) {
  set.seed(seed)
  design <- model.matrix(formula, data)
  mean <- exp(rnorm(genes, 4, 1.8)) * depth
  size <- 1 / (level(mean) * exp(rnorm(genes, 0, scatter)))
  linear <- matrix(rnorm(genes * ncol(design), 0, .25), genes)
  linear[, 1] <- log(mean)
  linear[, ncol(design)] <- ifelse(runif(genes) < .3, rnorm(genes, 0, effect), 0)
  mu <- t(t(exp(linear %*% t(design))) * exp(rnorm(nrow(data), 0, .3)))
  count <- matrix(rnbinom(length(mu), mu = mu, size = size), genes)
  storage.mode(count) <- "integer"
  count[rowSums(count) > 0, ]
}
pairs <- function(n) data.frame(subject = factor(rep(1:n, 2)), group = factor(rep(c("a", "b"), each = n)))
groups <- function(a, b) data.frame(group = factor(rep(c("a", "b"), c(a, b))))
paired <- ~ subject + group
fitted <- function(count, data, formula, ...) {
  colnames(count) <- paste0("s", seq_len(ncol(count)))
  suppressMessages(DESeq(DESeqDataSetFromMatrix(count, data, formula), quiet = TRUE, ...))
}

# Trend and prior ------------------------------------------------------------------------------------------
rising <- function(m) .02 + m / 3000
sets <- list(
  pairs_12 = list(pairs(12), paired, simulate(1, 260, pairs(12), paired)),
  pairs_4 = list(pairs(4), paired, simulate(2, 300, pairs(4), paired, scatter = 1.2)),
  pairs_3 = list(pairs(3), paired, simulate(3, 300, pairs(3), paired, scatter = 1.1)),
  pairs_2 = list(pairs(2), paired, simulate(4, 300, pairs(2), paired, scatter = .3)),
  shallow = list(pairs(6), paired, simulate(5, 400, pairs(6), paired, depth = .05)),
  rising = list(groups(4, 4), ~group, simulate(6, 300, groups(4, 4), ~group, level = rising)),
  rising_pairs_4 = list(pairs(4), paired, simulate(7, 300, pairs(4), paired, level = rising)),
  few_genes = list(groups(5, 5), ~group, simulate(8, 25, groups(5, 5), ~group)),
  poisson = list(groups(5, 5), ~group, simulate(9, 300, groups(5, 5), ~group, level = function(m) 1e-3))
)
set_prior <- function(residual, df, seed) {
  # What estimateDispersionsPriorVar does with seed 2.
  set.seed(seed)
  breaks <- -20:20 / 2
  seen <- hist(residual[abs(residual) < 10], breaks, plot = FALSE)$density
  grid <- seq(0, 8, length = 200)
  divergence <- sapply(grid, function(variance) {
    drawn <- log(rchisq(1e4, df)) + rnorm(1e4, 0, sqrt(variance)) - log(df)
    drawn <- hist(drawn[abs(drawn) < 10], breaks, plot = FALSE)$density
    small <- min(c(seen, drawn)[c(seen, drawn) > 0])
    sum(seen * (log(seen + small) - log(drawn + small)))
  })
  fine <- seq(0, 8, length = 1000)
  max(fine[which.min(predict(loess(divergence ~ grid, span = .2), fine))], .25)
}
genes <- trends <- curves <- NULL
for (name in names(sets)) {
  set <- sets[[name]]
  for (kind in c("parametric", "local", "mean")) {
    dds <- fitted(set[[3]], set[[1]], set[[2]], fitType = kind, minReplicatesForReplace = Inf)
    fun <- dispersionFunction(dds)
    gene <- mcols(dds)
    coefficient <- attr(fun, "coefficients")
    df <- ncol(dds) - ncol(model.matrix(set[[2]], set[[1]]))
    used <- gene$dispGeneEst >= 1e-6
    residual <- (log(gene$dispGeneEst) - log(gene$dispFit))[used]
    over <- if (df > 3) NA else sapply(3:22, function(seed) set_prior(residual, df, seed))
    trends <- rbind(trends, data.frame(
      set = name, asked = kind, fit = attr(fun, "fitType"), residual_df = df,
      asymptotic = if (is.null(coefficient)) NA else coefficient[[1]],
      extra_poisson = if (is.null(coefficient)) NA else coefficient[[2]],
      mean = if (is.null(attr(fun, "mean"))) NA else attr(fun, "mean"),
      residual_variance = attr(fun, "varLogDispEsts"), prior = attr(fun, "dispPriorVar"),
      prior_over_seeds = mean(over), prior_sd_of_seeds = if (df > 3) NA else sd(over)))
    if (kind == "parametric") {
      genes <- rbind(genes, data.frame(set = name, base_mean = gene$baseMean, gene_wise = gene$dispGeneEst))
    }
    at <- exp(seq(log(min(gene$baseMean)) - 1, log(max(gene$baseMean)) + 1, length = 60))
    curves <- rbind(curves, data.frame(set = name, asked = kind, mean = at, dispersion = rep(fun(at), length.out = 60)))
  }
}
put(genes, "trend_genes.csv")
put(trends, "trends.csv")
put(curves, "trend_curves.csv")

# Cook's distance, replacement -----------------------------------------------------------------------------
batch <- data.frame(batch = factor(rep(1:2, 6)), group = factor(rep(c("a", "b"), each = 6)))
cooks_sets <- list(
  groups_4_4 = list(groups(4, 4), ~group), groups_3_3 = list(groups(3, 3), ~group),
  groups_8_8 = list(groups(8, 8), ~group), groups_8_4 = list(groups(8, 4), ~group),
  batch = list(batch, ~ batch + group), pairs_5 = list(pairs(5), paired),
  many = list(groups(26, 7), ~group)
)
cooks <- flags <- vst <- vst_trend <- NULL
for (name in names(cooks_sets)) {
  set <- cooks_sets[[name]]
  count <- simulate(100 + match(name, names(cooks_sets)), 60, set[[1]], set[[2]], effect = 1)
  set.seed(200)
  for (i in 1:12) {
    j <- sample(ncol(count), 1)
    count[i, j] <- as.integer(count[i, j] * 30 + 300)
  }
  # One gene high in a whole group and in one sample of the other: a suspect that others exceed.
  count[13, ] <- as.integer(ifelse(set[[1]]$group == "b", 3000, 5))
  count[13, 1] <- 2000L
  dds <- fitted(count, set[[1]], set[[2]])
  n <- 24
  part <- dds[1:n, ]
  now <- if ("replaceCounts" %in% assayNames(dds)) assays(part)[["replaceCounts"]] else counts(part)
  long <- function(x) as.vector(t(x))
  cooks <- rbind(cooks, data.frame(
    set = name, gene = rep(1:n, each = ncol(dds)), sample = rep(seq_len(ncol(dds)), n),
    count = long(counts(part)), size_factor = rep(sizeFactors(dds), n), mu = long(assays(part)[["mu"]]),
    leverage = long(assays(part)[["H"]]), cooks = long(assays(part)[["cooks"]]), replaced = long(now)))
  replace <- mcols(part)$replace
  flags <- rbind(flags, data.frame(
    set = name, gene = 1:n, is_outlier = is.na(results(dds)$pvalue[1:n]) & mcols(part)$baseMean > 0,
    is_replaced = if (is.null(replace)) FALSE else replace))
}
put(cooks, "cooks.csv")
put(flags, "cooks_genes.csv")

# Independent filtering ------------------------------------------------------------------------------------
p_sets <- list()
add <- function(name, base_mean, p, alpha = .05) p_sets[[name]] <<- list(base_mean, p, alpha)
drawn <- function(seed, n, share, zero = 0) {
  set.seed(seed)
  base_mean <- c(rep(0, zero), exp(rnorm(n - zero, 3, 2)))
  p <- ifelse(runif(n) < share & base_mean > 10, rbeta(n, .05, 10), runif(n))
  p[base_mean == 0] <- NA
  list(base_mean, p)
}
d <- drawn(1, 500, .4); add("strong_signal", d[[1]], d[[2]])
d <- drawn(9, 1000, .15); d[[2]][d[[1]] < 30] <- runif(sum(d[[1]] < 30)); add("signal", d[[1]], d[[2]])
add("signal_at_.1", d[[1]], d[[2]], .1)
d <- drawn(2, 500, .2, 120); d[[2]][sample(500, 40)] <- NA; add("zeros_and_untested", d[[1]], d[[2]])
d <- drawn(3, 400, .3); add("all_one", d[[1]], rep(1, 400))
d <- drawn(4, 12, .5); add("few_genes", d[[1]], d[[2]])
d <- drawn(5, 400, 0); add("no_signal", d[[1]], d[[2]])
d <- drawn(6, 400, .9, 385); d[[2]][386:400] <- 1e-5 * 1:15; add("nearly_all_zero", d[[1]], d[[2]])
d <- drawn(7, 400, .5); add("ties", round(d[[1]]), round(d[[2]], 2))
d <- drawn(8, 400, .4); add("everything_significant", d[[1]], d[[2]] / 1e4)
filtering <- filter_genes <- NULL
for (name in names(p_sets)) {
  set <- p_sets[[name]]
  res <- DESeqResults(DataFrame(baseMean = set[[1]], pvalue = set[[2]]))
  res <- DESeq2:::pvalueAdjustment(res, independentFiltering = TRUE, alpha = set[[3]], pAdjustMethod = "BH")
  m <- metadata(res)
  filter_genes <- rbind(filter_genes, data.frame(set = name, base_mean = set[[1]], p_value = set[[2]], p_adjusted = res$padj))
  filtering <- rbind(filtering, data.frame(
    set = name, alpha = set[[3]], threshold = unname(m$filterThreshold), quantile = m$filterTheta,
    theta = m$filterNumRej$theta, n_rejected = m$filterNumRej$numRej, smooth = m$lo.fit$y))
}
put(filter_genes, "filtering_genes.csv")
put(filtering, "filtering.csv")

# lowess ---------------------------------------------------------------------------------------------------
set.seed(11)
x <- sort(c(runif(40), rep(.5, 3), .9, .9))
y <- sin(6 * x) + rnorm(45, 0, .1)
y[c(5, 20, 30)] <- y[c(5, 20, 30)] + 3
put(rbind(
  data.frame(set = "outliers", span = .2, x, y, smooth = lowess(x, y, .2, delta = 0)$y),
  data.frame(set = "wide", span = .8, x, y, smooth = lowess(x, y, .8, delta = 0)$y),
  data.frame(set = "line", span = .5, x, y = 2 * x, smooth = lowess(x, 2 * x, .5, delta = 0)$y),
  data.frame(set = "step", span = .2, x = 1:45, y = rep(c(0, 1), c(30, 15)), smooth = lowess(1:45, rep(c(0, 1), c(30, 15)), .2, delta = 0)$y)
), "lowess.csv")

# Variance-stabilising transformation ----------------------------------------------------------------------
data <- groups(3, 3)
count <- simulate(300, 300, data, ~group)
for (kind in c("parametric", "local", "mean")) {
  dds <- fitted(count, data, ~group, fitType = kind)
  value <- getVarianceStabilizedData(dds)
  vst <- rbind(vst, data.frame(
    kind = kind, gene = rep(seq_len(nrow(dds)), each = 6), sample = rep(1:6, nrow(dds)), count = as.vector(t(counts(dds))),
    size_factor = rep(sizeFactors(dds), nrow(dds)), value = as.vector(t(value))))
  fun <- dispersionFunction(dds)
  vst_trend <- rbind(vst_trend, data.frame(kind = kind, gene = seq_len(nrow(dds)), gene_wise = mcols(dds)$dispGeneEst))
}
put(vst, "vst.csv")
put(vst_trend, "vst_genes.csv")
