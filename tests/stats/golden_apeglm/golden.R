# Posterior modes under apeglm's model, by R's own optimiser; see README.md. Run in this folder.
suppressMessages(library(DESeq2))
set.seed(20261123)

simulate <- function(genes, design, effect, subject_sd = 0.5) {
  n <- nrow(design)
  base <- exp(runif(genes, log(2), log(3000)))
  alpha <- (0.05 + 1.5 / base) * exp(rnorm(genes, 0, 0.6))
  beta <- matrix(rnorm(genes * ncol(design), 0, subject_sd), genes)
  beta[, 1] <- log(base)
  beta[, effect] <- ifelse(runif(genes) < 0.3, rnorm(genes, 0, 1.5), 0)
  factors <- exp(rnorm(n, 0, 0.3))
  mean <- exp(beta %*% t(design)) * rep(factors, each = genes)
  matrix(rnbinom(genes * n, mu = mean, size = 1 / alpha), genes)
}

# Prior on the shrunken coefficient: Cauchy; on the others: normal with standard deviation 15 (Zhu et al. 2019).
log_posterior <- function(beta, y, x, offset, alpha, position, scale) {
  sum(dnbinom(y, mu = exp(drop(x %*% beta) + offset), size = 1 / alpha, log = TRUE)) +
    sum(dnorm(beta[-position], 0, 15, log = TRUE)) + dcauchy(beta[position], 0, scale, log = TRUE)
}

slope <- function(beta, y, x, offset, alpha, position, scale) {
  mean <- exp(drop(x %*% beta) + offset)
  result <- drop(t(x) %*% ((y - mean) / (1 + alpha * mean))) - beta / 225
  result[position] <- result[position] + beta[position] / 225 - 2 * beta[position] / (scale^2 + beta[position]^2)
  result
}

# The highest of the modes climbed to from no effect and from the maximum-likelihood estimates.
mode <- function(y, x, offset, alpha, position, scale, mle) {
  starts <- list(replace(mle, position, 0), mle)
  fits <- lapply(starts, function(start) {
    fit <- list(par = start)
    for (again in 1:4) {
      fit <- optim(fit$par, log_posterior, slope, y = y, x = x, offset = offset, alpha = alpha,
                   position = position, scale = scale, method = "BFGS",
                   control = list(fnscale = -1, reltol = 1e-16, maxit = 5000))
    }
    fit
  })
  best <- fits[[which.max(vapply(fits, function(fit) fit$value, 0))]]
  hessian <- optimHess(best$par, log_posterior, slope, y = y, x = x, offset = offset, alpha = alpha,
                       position = position, scale = scale, control = list(fnscale = -1, ndeps = rep(1e-4, ncol(x))))
  c(best$par[position], sqrt(diag(solve(-hessian)))[position], best$value)
}

# Scale of the prior (Efron and Morris 1975), to more digits than apeglm's.
prior_scale <- function(estimate, error) {
  used <- is.finite(estimate) & is.finite(error)
  x <- estimate[used]
  d <- error[used]^2
  excess <- function(a) sum((x^2 - d - a) / (a + d)^2)
  if (excess(1e-6) < 0) return(1e-3)
  min(1, sqrt(uniroot(excess, c(1e-6, 400), tol = 1e-13)$root))
}

write_case <- function(name, count, x, position) {
  colnames(x) <- paste0("x", seq_len(ncol(x)))
  rownames(count) <- paste0("g", seq_len(nrow(count)))
  dds <- DESeqDataSetFromMatrix(count, data.frame(row = factor(seq_len(ncol(count)))), ~ 1)
  dds <- estimateSizeFactors(dds)
  dds <- estimateDispersions(dds, modelMatrix = x, quiet = TRUE)
  dds <- nbinomWaldTest(dds, betaPrior = FALSE, modelMatrix = x, quiet = TRUE)
  beta <- coef(dds) * log(2)
  error <- coef(dds, SE = TRUE)[, position] * log(2)
  keep <- is.finite(beta[, position])
  scale <- prior_scale(beta[keep, position], error[keep])
  offset <- log(sizeFactors(dds))
  fit <- t(vapply(which(keep), function(g) {
    mode(count[g, ], x, offset, dispersions(dds)[g], position, scale, pmax(pmin(unname(beta[g, ]), 15), -15))
  }, numeric(3)))
  number <- function(value) formatC(value, digits = 15, format = "g")
  write.csv(data.frame(data = name, gene = rownames(count)[keep], dispersion = number(dispersions(dds)[keep]),
                       mle = number(beta[keep, position]), mle_error = number(error[keep]), scale = number(scale),
                       mode = number(fit[, 1]), error = number(fit[, 2]), log_posterior = number(fit[, 3]),
                       count[keep, ]),
            paste0(name, ".csv"), row.names = FALSE, quote = FALSE)
  design <- data.frame(data = name, position = position, size_factor = number(sizeFactors(dds)), x)
  write.csv(design, paste0(name, "_design.csv"), row.names = FALSE, quote = FALSE)
}

genes <- 120
subject <- factor(rep(1:6, each = 2))
visit <- factor(rep(1:2, 6))
paired <- unname(model.matrix(~ subject + visit))
write_case("paired", simulate(genes, paired, 7), paired, 7)

group <- factor(rep(c("a", "b", "c"), each = 4))
unpaired <- unname(model.matrix(~ group))
write_case("three_groups", simulate(genes, unpaired, 3), unpaired, 3)

age <- round(rnorm(14), 3)
sex <- rep(0:1, 7)
covariate <- unname(model.matrix(~ sex + age))
write_case("covariate", simulate(genes, covariate, 3), covariate, 3)
