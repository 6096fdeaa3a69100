# Reference values for the statistics of gene sets: see README.md.
suppressPackageStartupMessages(library(GSVA))
options(digits = 17)
set.seed(20261123)

write_matrix <- function(values, file) {
  # 17 digits: what is read back is, in every bit, what was scored.
  text <- apply(values, 2, function(v) sprintf("%.17g", v))
  write.csv(data.frame(row = rownames(values), text, check.names = FALSE), file, row.names = FALSE, quote = FALSE)
}

# Three kinds of expression: continuous, shallow log counts with many ties and constant genes, few samples.
n <- 240
plain <- matrix(rnorm(n * 12, mean = rep(runif(n, 2, 12), 12)), n)
plain[1:20, 7:12] <- plain[1:20, 7:12] + 1.5
shallow <- log2(matrix(rnbinom(n * 9, mu = rep(rexp(n, 0.5), 9), size = 2), n) + 0.5)
shallow[5, ] <- 1
few <- matrix(rexp(n * 3, 0.2), n)
few <- round(few, 1)
kinds <- list(plain = plain, shallow = shallow, few = few)

genes <- sprintf("G%03d", seq_len(n))
sets <- list(
  risen = genes[1:20], mixed = genes[c(3, 40, 81, 120, 199)], last = genes[221:240],
  wide = genes[seq(1, n, 3)], pair = genes[c(100, 7)], constant = genes[c(5, 50, 51, 52)]
)
writeLines(sapply(names(sets), function(s) paste(c(s, sets[[s]]), collapse = ",")), "sets.csv")

rows <- list()
for (kind in names(kinds)) {
  x <- kinds[[kind]]
  dimnames(x) <- list(genes, sprintf("S%02d", seq_len(ncol(x))))
  write_matrix(x, paste0("expression_", kind, ".csv"))
  calls <- list(
    gsva = function() gsva(x, sets, method = "gsva", kcdf = "Gaussian", verbose = FALSE),
    gsva_larger = function() gsva(x, sets, method = "gsva", kcdf = "Gaussian", mx.diff = FALSE, verbose = FALSE),
    gsva_empirical = function() gsva(x, sets, method = "gsva", kcdf = "none", verbose = FALSE),
    ssgsea = function() gsva(x, sets, method = "ssgsea", verbose = FALSE),
    ssgsea_raw = function() gsva(x, sets, method = "ssgsea", ssgsea.norm = FALSE, verbose = FALSE),
    zscore = function() gsva(x, sets, method = "zscore", verbose = FALSE)
  )
  for (call in names(calls)) {
    invisible(capture.output(score <- suppressWarnings(calls[[call]]())))
    for (s in rownames(score)) {
      rows[[length(rows) + 1]] <- data.frame(
        kind = kind, call = call, set = s, sample = colnames(score), score = sprintf("%.17g", score[s, ])
      )
    }
  }
}
write.csv(do.call(rbind, rows), "scores.csv", row.names = FALSE, quote = FALSE)

# Over-representation: x of a set of m among k called of N genes.
tables <- rbind(
  c(8, 20, 100, 1000), c(0, 20, 100, 1000), c(20, 20, 100, 1000), c(1, 3, 50, 20000), c(45, 200, 1500, 18000),
  c(130, 200, 1500, 18000), c(2, 2, 2, 10), c(30, 40, 60, 70), c(5, 500, 300, 15000), c(1, 1, 1, 2)
)
over <- apply(tables, 1, function(t) {
  two <- matrix(c(t[1], t[3] - t[1], t[2] - t[1], t[4] - t[2] - t[3] + t[1]), 2)
  f <- fisher.test(two)
  c(t, phyper(t[1] - 1, t[2], t[4] - t[2], t[3], lower.tail = FALSE), f$estimate, f$conf.int)
})
over <- t(over)
colnames(over) <- c("x", "m", "k", "N", "p_value", "odds_ratio", "low", "high")
write.csv(apply(over, 2, function(v) sprintf("%.15g", v)), "over_representation.csv", row.names = FALSE, quote = FALSE)

# Univariate linear model: lm() of each column on the weights of each regulator.
weights <- list(
  r1 = setNames(rep(1, 10), genes[1:10]), r2 = setNames(c(1, -1, 0.5, -2, 1), genes[c(3, 60, 90, 200, 201)]),
  r3 = setNames(runif(30, -1, 1), genes[seq(5, 150, 5)])
)
net <- do.call(rbind, lapply(names(weights), function(r) {
  data.frame(regulator = r, gene = names(weights[[r]]), weight = sprintf("%.17g", weights[[r]]))
}))
write.csv(net, "weights.csv", row.names = FALSE, quote = FALSE)
fits <- list()
for (r in names(weights)) {
  w <- setNames(rep(0, n), genes)
  w[names(weights[[r]])] <- weights[[r]]
  for (j in 1:3) {
    s <- summary(lm(plain[, j] ~ w))$coefficients["w", ]
    fits[[length(fits) + 1]] <- data.frame(
      regulator = r, column = j, slope = sprintf("%.15g", s[1]), t = sprintf("%.15g", s[3]), p = sprintf("%.15g", s[4])
    )
  }
}
write.csv(do.call(rbind, fits), "linear_models.csv", row.names = FALSE, quote = FALSE)

# Average linkage of leading edges: hclust() and cutree() on Jaccard distances.
edges <- lapply(1:14, function(i) sort(sample(60 * (i %% 3) + 1:60, 12 + i)))
jaccard <- outer(1:14, 1:14, Vectorize(function(a, b) {
  length(intersect(edges[[a]], edges[[b]])) / length(union(edges[[a]], edges[[b]]))
}))
tree <- hclust(as.dist(1 - jaccard), method = "average")
writeLines(
  sapply(1:14, function(i) {
    paste(c(cutree(tree, h = 0.7)[i], cutree(tree, h = 0.8)[i], edges[[i]]), collapse = ",")
  }),
  "leading_edges.csv"
)
