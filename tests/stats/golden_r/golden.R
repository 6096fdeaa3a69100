# Makes samples.csv and results.csv beside this file: Rscript golden.R
suppressPackageStartupMessages({
  library(coin)
  library(exactRankTests)
})
options(digits = 17)
set.seed(20261123)
level <- 0.95
alpha <- 1 - level

# All values are fractions with a power of two below, so that R's sums and differences are free of rounding
# and its ties are those of arithmetic.
draw <- function(kind, n) {
  repeat {
    x <- switch(kind,
      ties_and_zeros = sample(-8:12, n, replace = TRUE, prob = c(rep(1, 8), 4, rep(1.5, 12))) / 2,
      ties = sample(c(-8:-1, 1:12), n, replace = TRUE) / 2,
      distinct = round(rnorm(n, 0.4, 1) * 1024) / 1024
    )
    moved <- x[x != 0]
    fits <- switch(kind,
      ties_and_zeros = any(x == 0) && length(moved) >= 2 && any(duplicated(abs(moved))),
      ties = any(duplicated(abs(x))),
      distinct = all(x != 0) && !any(duplicated(abs(x)))
    )
    if (fits && sd(x) > 0) return(x)
  }
}

# The shifts that the exact test of exactRankTests does not reject, tried in every gap between Walsh averages.
# When even the outermost shift cannot be rejected the range of the data stands in.
invert <- function(x) {
  walsh <- outer(x, x, "+") / 2
  walsh <- sort(unique(walsh[!lower.tri(walsh)]))
  if (length(walsh) == 1) return(c(walsh, walsh))
  shifts <- (head(walsh, -1) + tail(walsh, -1)) / 2
  p <- sapply(shifts, function(shift) wilcox.exact(x, mu = shift, exact = TRUE)$p.value)
  kept <- which(p > alpha)
  if (length(kept) == 0) return(c(NA, NA))
  c(walsh[min(kept)], walsh[max(kept) + 1])
}

row_of <- function(id, kind, x) {
  zero <- rep(0, length(x))
  moved <- x[x != 0]
  is_distinct <- kind == "distinct"
  exact <- function(alternative) wilcox.exact(x, alternative = alternative, exact = TRUE)
  normal <- function(correct, alternative = "two.sided")
    suppressWarnings(wilcox.test(x, exact = FALSE, correct = correct, alternative = alternative))
  signed <- function(zeros, distribution) wilcoxsign_test(x ~ zero, zero.method = zeros, distribution = distribution)
  r_interval <- suppressWarnings(wilcox.exact(x, conf.int = TRUE, conf.level = level, exact = TRUE))
  base <- if (is_distinct) suppressWarnings(wilcox.test(x, exact = TRUE, conf.int = TRUE, conf.level = level))
  inverted <- invert(x)
  t <- t.test(x, conf.level = level)
  s <- binom.test(sum(moved > 0), length(moved), conf.level = level)
  whole <- as.integer(x * 1024)
  data.frame(
    sample = id, kind = kind, n = length(x), n_zero = sum(x == 0),
    rank_sum = unname(exact("two.sided")$statistic),
    exact_p = exact("two.sided")$p.value,
    exact_p_greater = exact("greater")$p.value,
    exact_p_less = exact("less")$p.value,
    exact_p_coin = as.numeric(pvalue(signed("Wilcoxon", "exact"))),
    exact_p_pratt = as.numeric(pvalue(signed("Pratt", "exact"))),
    asymptotic_p = normal(FALSE)$p.value,
    asymptotic_p_greater = normal(FALSE, "greater")$p.value,
    asymptotic_p_corrected = normal(TRUE)$p.value,
    asymptotic_p_corrected_greater = normal(TRUE, "greater")$p.value,
    asymptotic_z_pratt = as.numeric(statistic(signed("Pratt", "asymptotic"))),
    asymptotic_p_pratt = as.numeric(pvalue(signed("Pratt", "asymptotic"))),
    walsh_median = {
      walsh <- outer(x, x, "+") / 2
      median(walsh[!lower.tri(walsh)])
    },
    hodges_lehmann = if (is_distinct) unname(base$estimate) else NA,
    interval_low = if (is_distinct) base$conf.int[1] else NA,
    interval_high = if (is_distinct) base$conf.int[2] else NA,
    inverted_low = inverted[1], inverted_high = inverted[2],
    wilcox_exact_estimate = unname(r_interval$estimate),
    wilcox_exact_low = r_interval$conf.int[1], wilcox_exact_high = r_interval$conf.int[2],
    t = unname(t$statistic), t_p = t$p.value, t_low = t$conf.int[1], t_high = t$conf.int[2],
    sign_p = s$p.value, sign_low = s$conf.int[1], sign_high = s$conf.int[2],
    sign_flip_p = perm.test(whole, paired = FALSE, exact = TRUE)$p.value
  )
}

kinds <- rep(c("ties_and_zeros", "ties", "distinct"), c(100, 50, 50))
sizes <- rep(4:20, length.out = 200)
samples <- Map(draw, kinds, sizes)
text <- function(x) ifelse(is.na(x), "", format(x, digits = 17, trim = TRUE, scientific = FALSE))
write.csv(
  data.frame(
    sample = rep(seq_along(samples), lengths(samples)),
    difference = text(unlist(samples, use.names = FALSE))
  ), "samples.csv", row.names = FALSE, quote = FALSE
)
results <- do.call(rbind, Map(row_of, seq_along(samples), kinds, samples))
numbers <- sapply(results, is.double)
results[numbers] <- lapply(results[numbers], function(x) ifelse(is.na(x), "", sprintf("%.17g", x)))
write.csv(results, "results.csv", row.names = FALSE, quote = FALSE)
