# Rank correlations of small samples: see README.md.
set.seed(20261124)
permutations <- function(n) {
  if (n == 1) return(matrix(1L, 1, 1))
  shorter <- permutations(n - 1)
  do.call(rbind, lapply(1:n, function(place) {
    left <- shorter[, seq_len(place - 1), drop = FALSE]
    right <- shorter[, seq_len(n - place) + place - 1, drop = FALSE]
    cbind(left, n, right)
  }))
}
orders <- lapply(1:8, permutations)

# The share of all orders with a correlation as far from zero; differences below 1e-9 are rounding.
counted <- function(x, y) {
  n <- length(x)
  rx <- rank(x); ry <- rank(y)
  arranged <- matrix(ry[orders[[n]]], ncol = n)
  rho <- cor(t(arranged), rx)
  observed <- cor(rx, ry)
  c(mean(abs(rho) >= abs(observed) - 1e-9), mean(rho >= observed - 1e-9), mean(rho <= observed + 1e-9))
}

samples <- NULL; results <- NULL
one <- function(case, kind, x, y) {
  n <- length(x)
  row <- data.frame(case = case, kind = kind, n = n, rho = cor(x, y, method = "spearman"),
                    p = NA, p_greater = NA, p_less = NA)
  if (kind == "ties") row[, 5:7] <- counted(x, y)
  if (kind == "no ties") {
    row$p <- cor.test(x, y, method = "spearman", exact = TRUE)$p.value
    row$p_greater <- cor.test(x, y, method = "spearman", exact = TRUE, alternative = "greater")$p.value
    row$p_less <- cor.test(x, y, method = "spearman", exact = TRUE, alternative = "less")$p.value
  }
  samples <<- rbind(samples, data.frame(case = case, x = paste(x, collapse = " "), y = paste(y, collapse = " ")))
  results <<- rbind(results, row)
}
case <- 0
for (round in 1:40) {
  n <- 4 + round %% 5
  repeat {
    x <- sample(0:4, n, replace = TRUE); y <- sample(0:6, n, replace = TRUE) * 0.25
    if (length(unique(x)) > 1 && length(unique(y)) > 1) break
  }
  case <- case + 1
  one(case, "ties", x, y)
}
for (round in 1:40) {
  n <- 5 + round %% 8
  x <- sample(1000, n); y <- round(0.5 * x + 300 * rnorm(n)) + seq_len(n) / 64
  case <- case + 1
  one(case, "no ties", x, y)
}
results[, -(1:3)] <- lapply(results[, -(1:3)], function(v) sprintf("%.17g", v))
results[results == "NA"] <- ""
write.csv(samples, "samples.csv", row.names = FALSE, quote = FALSE)
write.csv(results, "results.csv", row.names = FALSE, quote = FALSE)
cat(R.version.string, "\n")
