# Makes samples.csv and results.csv beside this file: Rscript golden.R
suppressPackageStartupMessages({
  library(coin)
  library(car)
  library(emmeans)
  library(survival)
  library(mice)
})
options(digits = 17, contrasts = c("contr.treatment", "contr.poly"))
set.seed(20261123)
emm_options(msg.interaction = FALSE, msg.nesting = FALSE)

samples <- list()
results <- list()
text <- function(x) if (is.numeric(x)) sprintf("%.17g", x) else as.character(x)
# One line of samples.csv per variable of a case, one line of results.csv per number.
keep <- function(family, case, data, numbers) {
  for (name in names(data)) {
    samples[[length(samples) + 1]] <<- data.frame(
      family = family, case = case, name = name, values = paste(text(data[[name]]), collapse = " ")
    )
  }
  numbers <- unlist(numbers)
  results[[length(results) + 1]] <<- data.frame(
    family = family, case = case, quantity = names(numbers), value = text(as.numeric(numbers))
  )
}
p_of <- function(test) as.numeric(pvalue(test))
cells <- function(values, dims) array(values, dims)

# Values are whole 64ths, so that ties are those of arithmetic.
rounded <- function(x, by = 64) round(x * by) / by

linear <- function(case) {
  repeat {
    n <- sample(10:40, 1)
    g <- sample(letters[1:sample(2:3, 1)], n, replace = TRUE)
    h <- sample(c("u", "v"), n, replace = TRUE)
    if (all(table(g, h) > 0) && length(unique(g)) > 1 && length(unique(h)) > 1) break
  }
  x <- rounded(rnorm(n, 50, 10))
  dose <- sample(c(0, 54, 81), n, replace = TRUE)
  y <- rounded(5 + 0.1 * x + (g == "b") + rnorm(n, 0, 3))
  d <- data.frame(y, g = factor(g), h = factor(h), x, dose)
  form <- if (case %% 2 == 0) y ~ g + h + x else y ~ g + h + x + g:h
  fit <- lm(form, d)
  sums <- lm(form, d, contrasts = list(g = "contr.sum", h = "contr.sum"))
  three <- Anova(sums, type = 3)
  terms <- rownames(three)[!rownames(three) %in% c("(Intercept)", "Residuals")]
  out <- list()
  co <- summary(fit)$coefficients
  for (i in seq_len(nrow(co))) out[[paste0("coef", i)]] <- c(estimate = co[i, 1], se = co[i, 2], p = co[i, 4])
  ends <- confint(fit)
  out$confint <- c(low = ends[2, 1], high = ends[2, 2])
  out$r2 <- summary(fit)$r.squared
  for (t in terms) out[[paste0("typeIII.", t)]] <- c(ss = three[t, 1], df = three[t, 2], f = three[t, 3], p = three[t, 4])
  for (w in c("equal", "proportional")) {
    grid <- emmeans(fit, "g", weights = w)
    means <- summary(grid, infer = c(TRUE, FALSE))
    for (i in seq_len(nrow(means))) {
      out[[paste0("mean.", w, ".", means$g[i])]] <- c(
        estimate = means$emmean[i], se = means$SE[i], low = means$lower.CL[i], high = means$upper.CL[i]
      )
    }
    pairs <- summary(contrast(grid, "revpairwise", adjust = "none"), infer = TRUE)
    for (i in seq_len(nrow(pairs))) {
      out[[paste0("diff.", w, ".", gsub(" ", "", pairs$contrast[i]))]] <- c(
        estimate = pairs$estimate[i], se = pairs$SE[i], p = pairs$p.value[i], low = pairs$lower.CL[i],
        high = pairs$upper.CL[i]
      )
    }
  }
  one <- oneway.test(y ~ g, d, var.equal = TRUE)
  out$anova <- c(f = unname(one$statistic), p = one$p.value)
  trend <- summary(lm(y ~ h + x + dose, d))$coefficients["dose", ]
  out$trend <- c(estimate = unname(trend[1]), se = unname(trend[2]), p = unname(trend[4]))
  keep("linear", case, list(y = y, g = g, h = h, x = x, dose = dose), out)
}
for (case in 1:60) linear(case)

two_by_two <- function(case) {
  repeat {
    t <- matrix(rpois(4, sample(c(1, 3, 8, 20), 4, replace = TRUE)), 2)
    if (all(rowSums(t) > 0) && all(colSums(t) > 0)) break
  }
  f <- fisher.test(t)
  out <- list(
    fisher = f$p.value, greater = fisher.test(t, alternative = "greater")$p.value,
    less = fisher.test(t, alternative = "less")$p.value,
    odds = unname(f$estimate), odds_low = f$conf.int[1], odds_high = f$conf.int[2],
    chisq = unname(suppressWarnings(chisq.test(t, correct = FALSE))$statistic),
    chisq_p = suppressWarnings(chisq.test(t, correct = FALSE))$p.value,
    yates = unname(suppressWarnings(chisq.test(t, correct = TRUE))$statistic)
  )
  b <- t[1, 2]
  changed <- t[1, 2] + t[2, 1]
  if (changed > 0) {
    out$mcnemar <- unname(mcnemar.test(t, correct = FALSE)$statistic)
    out$mcnemar_corrected <- unname(mcnemar.test(t, correct = TRUE)$statistic)
    out$mcnemar_exact <- binom.test(b, changed)$p.value
    out$mcnemar_mid <- min(1, 2 * pbinom(min(b, changed - b), changed, 0.5) - dbinom(b, changed, 0.5))
  }
  keep("two_by_two", case, list(table = as.vector(t(t))), out)
}
for (case in 1:100) two_by_two(case)

r_by_c <- function(case) {
  repeat {
    dims <- c(sample(2:4, 1), sample(2:5, 1))
    t <- matrix(rpois(prod(dims), sample(c(0.6, 2, 4), 1)), dims[1])
    if (prod(dims) > 4 && sum(rowSums(t) > 0) > 1 && sum(colSums(t) > 0) > 1 && sum(t) <= 50) break
  }
  used <- t[rowSums(t) > 0, colSums(t) > 0, drop = FALSE]
  keep("r_by_c", case, list(table = as.vector(t(t)), dim = dims), list(
    fisher = fisher.test(used, workspace = 2e7)$p.value,
    chisq = unname(suppressWarnings(chisq.test(used, correct = FALSE))$statistic),
    chisq_p = suppressWarnings(chisq.test(used, correct = FALSE))$p.value
  ))
}
for (case in 1:80) r_by_c(case)

informative <- function(t) apply(t, 3, function(s) sum(rowSums(s) > 0) > 1 && sum(colSums(s) > 0) > 1)
breslow_day <- function(t, tarone) {
  or <- unname(mantelhaen.test(t, correct = FALSE)$estimate)
  parts <- apply(t, 3, function(s) {
    r <- sum(s[1, ]); k <- sum(s[, 1]); n <- sum(s)
    gap <- function(a) log(a) + log(n - r - k + a) - log(r - a) - log(k - a) - log(or)
    low <- max(0, r + k - n); high <- min(r, k); inset <- (high - low) * 1e-14
    a <- uniroot(gap, c(low + inset, high - inset), tol = 1e-15, maxiter = 10000)$root
    c(s[1, 1] - a, 1 / (1 / a + 1 / (r - a) + 1 / (k - a) + 1 / (n - r - k + a)))
  })
  sum(parts[1, ]^2 / parts[2, ]) - if (tarone) sum(parts[1, ])^2 / sum(parts[2, ]) else 0
}
stratified_2x2 <- function(case) {
  repeat {
    k <- sample(2:5, 1)
    t <- cells(rpois(4 * k, sample(c(1.5, 4, 9), 1)), c(2, 2, k))
    if (!all(informative(t))) next
    m <- mantelhaen.test(t, correct = FALSE)
    if (is.finite(m$estimate) && m$estimate > 0) break
  }
  keep("stratified_2x2", case, list(table = as.vector(aperm(t, c(2, 1, 3))), k = k), list(
    q = unname(m$statistic), p = m$p.value, odds = unname(m$estimate), low = m$conf.int[1], high = m$conf.int[2],
    q_corrected = unname(mantelhaen.test(t, correct = TRUE)$statistic),
    breslow_day = breslow_day(t, FALSE), breslow_day_tarone = breslow_day(t, TRUE)
  ))
}
for (case in 1:60) stratified_2x2(case)

stratified <- function(case) {
  repeat {
    dims <- c(sample(2:4, 1), sample(3:5, 1), sample(1:4, 1))
    t <- cells(rpois(prod(dims), sample(c(1, 2, 5), 1)), dims)
    if (all(informative(t)) && all(apply(t, 1, sum) > 0) && all(apply(t, 2, sum) > 0)) break
  }
  d <- as.data.frame(as.table(t), responseName = "n")
  d <- d[rep(seq_len(nrow(d)), d$n), ]
  row <- factor(d$Var1); column <- as.integer(factor(d$Var2)); block <- factor(d$Var3)
  scored <- function(transform) {
    if (nlevels(block) == 1) block <- factor(rep("1", nrow(d)))
    z <- ave(as.numeric(column), block, FUN = transform)
    q <- function(x) {
      test <- if (nlevels(block) > 1) {
        independence_test(z ~ x | block, teststat = "quadratic", ytrafo = identity_y, xtrafo = factor_x)
      } else {
        independence_test(z ~ x, teststat = "quadratic", ytrafo = identity_y, xtrafo = factor_x)
      }
      c(q = as.numeric(statistic(test)), p = p_of(test))
    }
    q(row)
  }
  identity_y <- function(data) trafo(data)
  factor_x <- function(data) trafo(data)
  correlation <- {
    z <- as.numeric(column); x <- as.numeric(row)
    test <- if (nlevels(block) > 1) independence_test(z ~ x | block, teststat = "quadratic") else independence_test(z ~ x, teststat = "quadratic")
    c(q = as.numeric(statistic(test)), p = p_of(test))
  }
  own <- c(0, 1, 4, 9, 16)
  out <- list(
    table = scored(identity), rank = scored(rank), ridit = scored(function(y) rank(y) / length(y)),
    modridit = scored(function(y) rank(y) / (length(y) + 1)), own = scored(function(y) own[y]),
    correlation = correlation
  )
  general <- if (nlevels(block) > 1) cmh_test(factor(column) ~ row | block) else cmh_test(factor(column) ~ row)
  out$general <- c(q = as.numeric(statistic(general)), p = p_of(general))
  if (nlevels(block) > 1) {
    base <- mantelhaen.test(t, correct = FALSE)
    out$mantelhaen <- c(q = unname(base$statistic), p = base$p.value)
  }
  keep("stratified", case, list(table = as.vector(aperm(t, c(2, 1, 3))), dim = dims[c(3, 1, 2)]), out)
}
for (case in 1:60) stratified(case)

paired_categories <- function(case) {
  repeat {
    k <- sample(2:5, 1)
    t <- matrix(rpois(k * k, sample(c(0.7, 1.5, 4), 1)), k)
    # Every category exchanges with others, so that the general statistics have full rank.
    if (all(rowSums(t) + colSums(t) - 2 * diag(t) > 0) && sum(t) - sum(diag(t)) <= 40) {
      off <- -(t + t(t)); diag(off) <- 0; diag(off) <- -rowSums(off)
      if (qr(off[-k, -k, drop = FALSE])$rank == k - 1) break
    }
  }
  d <- (colSums(t) - rowSums(t))[-k]
  v <- off[-k, -k, drop = FALSE]
  n <- sum(t)
  points <- sort(sample(0:9, k))
  change <- rep(as.vector(outer(points, points, function(before, after) after - before)), as.vector(t))
  moved <- change[change != 0]
  names <- paste0("c", seq_len(k))
  table <- as.table(matrix(t, k, dimnames = list(before = names, after = names)))
  general <- mh_test(table)
  ordered <- mh_test(table, scores = list(response = points))
  exact <- function(alternative) exactRankTests::perm.test(moved, paired = FALSE, alternative = alternative, exact = TRUE)$p.value
  # Not defined where everybody changed alike.
  bhapkar <- tryCatch(as.numeric(t(d) %*% solve(v - d %*% t(d) / n) %*% d), error = function(e) NA)
  keep("paired_categories", case, list(table = as.vector(t(t)), k = k, scores = points), list(
    stuart = as.numeric(statistic(general)), stuart_p = p_of(general), bhapkar = bhapkar,
    ordinal_z = abs(as.numeric(statistic(ordered))), ordinal_p = p_of(ordered),
    exact_coin = p_of(mh_test(table, scores = list(response = points), distribution = "exact")),
    exact = exact("two.sided"), exact_greater = exact("greater"), exact_less = exact("less")
  ))
}
for (case in 1:80) paired_categories(case)

rank_sum <- function(case) {
  sizes <- sample(2:12, 2, replace = TRUE)
  draw <- function(n, shift) if (case %% 2 == 0) rounded(rnorm(n) + shift, 1024) else sample(0:6, n, replace = TRUE) / 2 + (shift > 0.5)
  repeat {
    x <- draw(sizes[1], 0.8); y <- draw(sizes[2], 0)
    if (length(unique(c(x, y))) > 1) break
  }
  d <- data.frame(v = c(x, y), g = factor(rep(c("x", "y"), sizes)))
  exact <- function(alternative) p_of(wilcox_test(v ~ g, d, distribution = "exact", alternative = alternative))
  plain <- function(correct, alternative = "two.sided")
    suppressWarnings(wilcox.test(x, y, exact = FALSE, correct = correct, alternative = alternative))
  third <- draw(5, 0.2)
  k <- kruskal.test(list(x, y, third))
  keep("rank_sum", case, list(first = x, second = y, third = third), list(
    w = unname(plain(FALSE)$statistic), exact = exact("two.sided"), greater = exact("greater"), less = exact("less"),
    normal = plain(FALSE)$p.value, corrected = plain(TRUE)$p.value, corrected_less = plain(TRUE, "less")$p.value,
    kruskal = unname(k$statistic), kruskal_p = k$p.value
  ))
}
for (case in 1:80) rank_sum(case)

newcombe <- function(s, n, correct) {
  z <- qnorm(0.975)
  ends <- mapply(function(x, m) {
    p <- x / m; q <- 1 - p
    if (!correct) return((2 * x + z^2 + c(-1, 1) * z * sqrt(z^2 + 4 * x * q)) / (2 * (m + z^2)))
    low <- (2 * x + z^2 - 1 - z * sqrt(z^2 - 2 - 1 / m + 4 * p * (m * q + 1))) / (2 * (m + z^2))
    high <- (2 * x + z^2 + 1 + z * sqrt(z^2 + 2 - 1 / m + 4 * p * (m * q - 1))) / (2 * (m + z^2))
    c(if (x == 0) 0 else max(low, 0), if (x == m) 1 else min(high, 1))
  }, s, n)
  p <- s / n
  list(
    wilson = ends[, 1],
    difference = p[1] - p[2] + c(-sqrt((p[1] - ends[1, 1])^2 + (ends[2, 2] - p[2])^2), sqrt((ends[2, 1] - p[1])^2 + (p[2] - ends[1, 2])^2))
  )
}
# The score interval with the restricted estimate found by maximising the likelihood, not by its cubic.
score_interval <- function(s, n) {
  p <- s / n
  per <- function(x, p) if (x == 0) 0 else x / p
  z <- function(d) {
    range <- c(max(0, -d), min(1, 1 - d))
    slope <- function(q) per(s[1], q + d) - per(n[1] - s[1], 1 - q - d) + per(s[2], q) - per(n[2] - s[2], 1 - q)
    inset <- diff(range) * 1e-13
    inside <- range + c(inset, -inset)
    q <- if (slope(inside[1]) <= 0) range[1] else if (slope(inside[2]) >= 0) range[2] else uniroot(slope, inside, tol = 1e-16, maxiter = 10000)$root
    v <- ((q + d) * (1 - q - d) / n[1] + q * (1 - q) / n[2]) * sum(n) / (sum(n) - 1)
    (p[1] - p[2] - d) / sqrt(v)
  }
  d <- p[1] - p[2]; c <- qnorm(0.975); e <- 1e-10
  c(
    if (d == -1) -1 else uniroot(function(x) z(x) - c, c(-1 + e, d - e), tol = 1e-14, maxiter = 10000)$root,
    if (d == 1) 1 else uniroot(function(x) z(x) + c, c(d + e, 1 - e), tol = 1e-14, maxiter = 10000)$root
  )
}
proportions <- function(case) {
  n <- sample(4:40, 2, replace = TRUE)
  s <- c(rbinom(1, n[1], runif(1)), rbinom(1, n[2], runif(1)))
  plain <- newcombe(s, n, FALSE); corrected <- newcombe(s, n, TRUE)
  # R corrects by less where x is within half of n p, so p is put far away.
  far <- if (s[1] > n[1] / 2) 0.01 else 0.99
  base <- suppressWarnings(prop.test(s[1], n[1], p = far, correct = FALSE))$conf.int
  base_corrected <- suppressWarnings(prop.test(s[1], n[1], p = far, correct = TRUE))$conf.int
  stopifnot(all.equal(as.vector(base), plain$wilson), all.equal(as.vector(base_corrected), corrected$wilson))
  mn <- score_interval(s, n)
  out <- list(
    wilson_low = base[1], wilson_high = base[2], corrected_low = base_corrected[1], corrected_high = base_corrected[2],
    newcombe_low = plain$difference[1], newcombe_high = plain$difference[2],
    newcombe_corrected_low = corrected$difference[1], newcombe_corrected_high = corrected$difference[2],
    mn_low = mn[1], mn_high = mn[2]
  )
  if (all(s > 0)) {
    fit <- suppressWarnings(glm(cbind(s, n - s) ~ factor(1:2, levels = 2:1), family = binomial(link = "log"), start = c(log(s[2] / n[2]) - 1e-4, log(s[1] / n[1] / (s[2] / n[2]))), control = list(epsilon = 1e-14, maxit = 200)))
    if (all(s < n)) {
      out$ratio <- exp(coef(fit)[[2]])
      out$ratio_se <- sqrt(vcov(fit)[2, 2])
    }
  }
  keep("proportions", case, list(s = s, n = n), out)
}
for (case in 1:80) proportions(case)

survival_case <- function(case) {
  repeat {
    n <- sample(10:40, 1)
    time <- if (case %% 2 == 0) sample(1:15, n, replace = TRUE) else rounded(rexp(n, 0.1)) + 1 / 64
    event <- rbinom(n, 1, sample(c(0.4, 0.7, 1), 1))
    g <- sample(letters[1:sample(2:3, 1)], n, replace = TRUE)
    s <- sample(c("u", "v"), n, replace = TRUE)
    x <- rounded(rnorm(n))
    if (length(unique(g)) < 2 || any(table(g, event)[, ncol(table(g, event))] < 2) || sum(event) < 6) next
    if (length(unique(s)) < 2 || any(table(s, event)[, ncol(table(s, event))] < 2)) next
    fit <- tryCatch(coxph(Surv(time, event) ~ g + x, ties = "efron", control = coxph.control(eps = 1e-11, iter.max = 50)), warning = function(w) NULL)
    if (!is.null(fit) && max(abs(coef(fit))) < 4) break
  }
  out <- list()
  for (kind in c("log-log", "log", "plain")) {
    f <- survfit(Surv(time, event) ~ 1, conf.type = kind)
    at <- c(quantile(time, c(0.2, 0.6), type = 1), max(time))
    r <- summary(f, times = at)
    for (i in seq_along(at)) {
      out[[paste0(kind, ".", i)]] <- c(surv = r$surv[i], se = r$std.err[i], low = r$lower[i], high = r$upper[i], n = r$n.risk[i])
    }
    q <- quantile(f, c(0.25, 0.5, 0.75))
    for (i in 1:3) out[[paste0(kind, ".q", i)]] <- c(estimate = q$quantile[[i]], low = q$lower[[i]], high = q$upper[[i]])
  }
  horizon <- unname(quantile(time, 0.8, type = 1))
  m <- survival:::survmean(survfit(Surv(time, event) ~ 1), rmean = horizon)$matrix
  out$rmean <- c(estimate = unname(m["rmean"]), se = unname(m["se(rmean)"]))
  d <- survdiff(Surv(time, event) ~ g)
  ds <- survdiff(Surv(time, event) ~ g + strata(s))
  out$logrank <- d$chisq
  out$logrank_strata <- ds$chisq
  out$expected <- d$exp[1]
  score <- seq_along(d$n) - 1
  out$trend <- sum(score * (d$obs - d$exp)) / sqrt(as.numeric(score %*% d$var %*% score))
  cox <- function(f, name) {
    r <- summary(f)
    for (i in seq_along(coef(f))) {
      out[[paste0(name, i)]] <<- c(estimate = coef(f)[[i]], se = r$coefficients[i, "se(coef)"], low = r$conf.int[i, 3], high = r$conf.int[i, 4], p = r$coefficients[i, 5])
    }
    out[[name]] <<- c(lrt = unname(r$logtest[1]), wald = f$wald.test[[1]], score = f$score, null = f$loglik[1], full = f$loglik[2])
  }
  cox(fit, "cox")
  by_stratum <- tryCatch(coxph(Surv(time, event) ~ g + x + strata(s), ties = "efron", control = coxph.control(eps = 1e-11, iter.max = 50)), warning = function(w) NULL)
  if (!is.null(by_stratum) && max(abs(coef(by_stratum))) < 4) cox(by_stratum, "cox_strata")
  keep("survival", case, list(time = time, event = event, g = g, s = s, x = x, at = at, horizon = horizon), out)
}
for (case in 1:60) survival_case(case)

for (case in 1:20) {
  p <- signif(runif(sample(1:12, 1))^2, 3)
  adjusted <- sapply(c("bonferroni", "holm", "hochberg", "BH"), function(m) p.adjust(p, m), simplify = FALSE)
  keep("multiplicity", case, list(p = p), unlist(lapply(adjusted, function(a) setNames(a, seq_along(a)))))
}

for (case in 1:20) {
  m <- sample(2:30, 1); q <- rounded(rnorm(m, 3)); u <- rounded(runif(m, 0.5, 2)); n <- sample(8:30, 1)
  large <- pool.scalar(q, u, n = Inf, k = 1); small <- pool.scalar(q, u, n = n, k = 2)
  keep("pooling", case, list(q = q, u = u, n = n), list(
    large = c(estimate = large$qbar, variance = large$t, df = large$df, riv = large$r, fmi = large$fmi),
    small = c(estimate = small$qbar, variance = small$t, df = small$df, fmi = small$fmi)
  ))
}

for (case in 1:30) {
  n <- sample(5:20, 1); before <- rounded(rnorm(n, 20, 4)); after <- rounded(0.5 * before + rnorm(n, 8, 3)); mu <- sample(10:20, 1)
  mee <- summary(lm(after - mu ~ I(before - mu)))$coefficients
  morgan <- cor.test(after - before, after + before)
  # The range of population means not rejected, by a search over a grid.
  t_at <- function(m) summary(lm(after - m ~ I(before - m)))$coefficients[1, 3]
  keep("regression_to_mean", case, list(before = before, after = after, mu = mu), list(
    effect = mee[1, 1], se = mee[1, 2], p = mee[1, 4], slope = mee[2, 1],
    correlation = unname(morgan$estimate), morgan_t = unname(morgan$statistic), morgan_p = morgan$p.value,
    t_at_10 = t_at(10), critical = qt(0.975, n - 2)
  ))
}

for (case in 1:20) {
  mean <- sample(10:30, 1); sd <- sample(2:8, 1); reliability <- sample(1:9, 1) / 10; k <- sample(1:3, 1)
  cutoff <- mean + sd * sample(-2:2, 1)
  v <- reliability * sd^2 + (1 - reliability) * sd^2 / k
  # The next score given the selection, by integrating over the baseline.
  weight <- function(b) dnorm(b, mean, sqrt(v))
  share <- integrate(weight, cutoff, Inf, rel.tol = 1e-12)$value
  baseline <- integrate(function(b) b * weight(b), cutoff, Inf, rel.tol = 1e-12)$value / share
  follow <- integrate(function(b) (mean + reliability * sd^2 / v * (b - mean)) * weight(b), cutoff, Inf, rel.tol = 1e-12)$value / share
  keep("expected_regression", case, list(mean = mean, sd = sd, reliability = reliability, k = k, cutoff = cutoff), list(
    share = share, baseline = baseline, change = follow - baseline
  ))
}

for (case in 1:10) {
  n <- 4 + 3 * case; power <- sample(c(0.8, 0.9), 1)
  keep("power", case, list(n = n, power = power), list(
    two_sample = power.t.test(n = n, power = power, strict = TRUE, tol = 1e-12)$delta,
    proportion = {
      critical <- min(which(pbinom(0:n - 1, n, 0.2, lower.tail = FALSE) <= 0.025)) - 1
      uniroot(function(p) pbinom(critical - 1, n, p, lower.tail = FALSE) - power, c(0.2, 1), tol = 1e-14)$root
    }
  ))
}

write.csv(do.call(rbind, samples), "samples.csv", row.names = FALSE, quote = FALSE)
write.csv(do.call(rbind, results), "results.csv", row.names = FALSE, quote = FALSE)
