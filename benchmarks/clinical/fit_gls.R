# Times nlme::gls on a CSV file: Rscript fit_gls.R data.csv structure repeats; prints seconds a fit and the deviance.
suppressMessages(library(nlme))
given <- commandArgs(trailingOnly = TRUE)
data <- read.csv(given[1])
data$VISIT <- factor(data$visit)
data$ARM <- factor(data$arm)
correlation <- if (given[2] == "us") corSymm(form = ~ visit | subject) else corCompSymm(form = ~ visit | subject)
weights <- if (given[2] == "us") varIdent(form = ~ 1 | VISIT)
repeats <- as.integer(given[3])
time <- system.time(for (i in seq_len(repeats)) {
  fit <- gls(y ~ base + ARM * VISIT, data, correlation = correlation, weights = weights, method = "REML")
})
cat(format(c(time[["elapsed"]] / repeats, -2 * as.numeric(logLik(fit))), digits = 15), "\n")
