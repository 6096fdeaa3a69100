# Writes the golden files beside this script: see README.md.
suppressMessages({
  library(nlme)
  library(lme4)
  library(lmerTest)
  library(pbkrtest)
  library(emmeans)
})
RNGversion("4.2.2")

# Whole numbers of 1024ths, so that text holds them exactly.
exactly <- function(x) round(x * 1024) / 1024

trial <- function(name, seed, arms, per_arm, visits, missing) {
  set.seed(seed)
  n <- arms * per_arm
  base <- exactly(rnorm(n, 20, 5))
  rank <- exp(-abs(outer(1:visits, 1:visits, "-")) / 3)
  scale <- seq(2, 4, length.out = visits)
  error <- matrix(rnorm(n * visits), n) %*% chol(rank * outer(scale, scale))
  wide <- expand.grid(visit = 1:visits, subject = 1:n)
  wide$arm <- (wide$subject - 1) %% arms + 1
  wide$base <- base[wide$subject]
  wide$y <- exactly(0.5 * wide$base - 1.5 * wide$visit * wide$arm / arms + error[cbind(wide$subject, wide$visit)])
  # The first visit of every subject stays, so that nobody is lost.
  keep <- runif(nrow(wide)) > missing | wide$visit == 1
  cbind(data = name, wide[keep, ])
}

trials <- list(
  trial("single_12_a", 11, 1, 12, 3, .15),
  trial("single_12_b", 12, 1, 12, 4, .12),
  trial("single_12_c", 13, 1, 12, 3, 0),
  trial("two_40", 14, 2, 20, 4, .2),
  trial("three_45", 15, 3, 15, 4, .15),
  trial("three_90", 16, 3, 30, 5, .2)
)
structures <- c("us", "toeph", "toep", "ar1h", "ar1", "csh", "cs")

correlation <- function(structure, visits) {
  switch(sub("h$", "", structure),
    us = corSymm(form = ~ visit | subject),
    toep = corARMA(form = ~ visit | subject, p = visits - 1, q = 0),
    ar1 = corAR1(form = ~ visit | subject),
    cs = corCompSymm(form = ~ 1 | subject)
  )
}

coefficients_of <- fits <- covariances <- NULL
for (data in trials) {
  name <- data$data[1]
  visits <- max(data$visit)
  data$V <- factor(data$visit)
  data$A <- factor(data$arm)
  formula <- if (max(data$arm) == 1) y ~ V + base + V:base else y ~ base + A * V + base * V
  for (structure in structures) {
    for (method in c("REML", "ML")) {
      is_scaled <- structure == "us" || grepl("h$", structure)
      fit <- tryCatch(
        gls(formula, data,
          correlation = correlation(structure, visits), weights = if (is_scaled) varIdent(form = ~ 1 | V),
          method = method,
          control = glsControl(maxIter = 500, msMaxIter = 2000, tolerance = 1e-12, msTol = 1e-13, msVerbose = FALSE)
        ),
        error = function(e) NULL
      )
      if (is.null(fit)) {
        fits <- rbind(fits, data.frame(data = name, structure, method, converged = FALSE, log_likelihood = NA))
        next
      }
      fits <- rbind(fits, data.frame(data = name, structure, method, converged = TRUE,
        log_likelihood = as.numeric(logLik(fit))))
      coefficients_of <- rbind(coefficients_of, data.frame(data = name, structure, method, term = names(coef(fit)),
        estimate = unname(coef(fit)), std_error = sqrt(diag(vcov(fit)))))
      ratio <- rep(1, visits)
      if (is_scaled) ratio <- coef(fit$modelStruct$varStruct, unconstrained = FALSE, allCoef = TRUE)[as.character(1:visits)]
      whole <- Initialize(correlation(structure, visits), data.frame(visit = 1:visits, subject = 1))
      coef(whole) <- coef(fit$modelStruct$corStruct)
      sigma <- fit$sigma^2 * corMatrix(whole) * outer(ratio, ratio)
      where <- expand.grid(row = 1:visits, column = 1:visits)
      covariances <- rbind(covariances, data.frame(data = name, structure, method, where, value = as.vector(sigma)))
    }
  }
}

# A random intercept is compound symmetry with a positive correlation: lme4 with its two packages of degrees of freedom.
lmer_trials <- list(three_45 = trials[[5]], two_40_complete = trial("two_40_complete", 17, 2, 20, 4, 0))
tests <- means <- NULL
for (name in names(lmer_trials)) {
  data <- lmer_trials[[name]]
  data$V <- factor(data$visit)
  data$A <- factor(data$arm)
  model <- lmer(y ~ base + A * V + (1 | subject), data,
    control = lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-10)))
  names_of <- names(fixef(model))
  hypotheses <- list(
    visits = which(grepl("^V", names_of)),
    interaction = which(grepl(":", names_of)),
    arm_and_visits = which(grepl("^A|^V", names_of)),
    all_but_intercept = 2:length(names_of)
  )
  for (hypothesis in names(hypotheses)) {
    L <- diag(length(names_of))[hypotheses[[hypothesis]], , drop = FALSE]
    s <- contestMD(model, L)
    tests <- rbind(tests, data.frame(data = name, hypothesis, method = "satterthwaite", f = s$"F value",
      numerator_df = s$NumDF, denominator_df = s$DenDF, p_value = s$"Pr(>F)", scale = 1))
    if (name == "two_40_complete") {
      k <- KRmodcomp(model, L)$stats
      tests <- rbind(tests, data.frame(data = name, hypothesis, method = "kenward-roger-linear", f = k$Fstat,
        numerator_df = k$ndf, denominator_df = k$ddf, p_value = k$p.value, scale = k$F.scaling))
    }
  }
  for (weights in c("equal", "proportional")) {
    marginal <- as.data.frame(emmeans(model, ~V, weights = weights, lmer.df = "satterthwaite"))
    means <- rbind(means, data.frame(data = name, weights, visit = marginal$V, estimate = marginal$emmean,
      std_error = marginal$SE, df = marginal$df))
  }
}

data <- do.call(rbind, c(trials, list(lmer_trials$two_40_complete)))
out <- function(x, file) write.csv(format(x, digits = 15, trim = TRUE), file, row.names = FALSE, quote = FALSE)
out(data, "data.csv")
out(fits, "fits.csv")
out(coefficients_of, "coefficients.csv")
out(covariances, "covariances.csv")
out(tests, "f_tests.csv")
out(means, "ls_means.csv")
