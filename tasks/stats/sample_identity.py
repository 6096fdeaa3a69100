"""Whether a sample is like the other samples of its own subject, or like those of somebody else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from tasks.stats.location_scale import median_and_mad

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tasks.stats.types import FloatArray

    IntArray = NDArray[np.integer[Any]]
    BoolArray = NDArray[np.bool_]

# Fewer subjects leave too few pairs of different people to see how alike strangers are.
FEWEST_SUBJECTS = 5
LEAST_RECOGNISED = 0.9
_LARGEST_CORRELATION = 1 - 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleIdentity:
    """Each sample against each subject.

    `correlation` (samples by subjects) is that of a sample with the mean profile of a subject's other
    samples, NaN where there are none; `score` the same as a robust z among pairs of different people.
    `best` is the subject, other than its own, that a sample is most like (-1 if there is none); `is_other`
    says that it is that subject's rather than its own. For that the score of the best must exceed `critical`
    and the own score by more than `margin`. `recognised` is the share of samples most like their own subject
    of all, among the subjects that no call concerns; below `LEAST_RECOGNISED` people cannot be told apart
    here and no sample is called.
    """

    correlation: FloatArray
    score: FloatArray
    own: FloatArray
    best: IntArray
    best_correlation: FloatArray
    is_other: BoolArray
    critical: float
    margin: float
    recognised: float
    lead_of_own: float
    alpha: float
    n_genes: int


def sample_identity(
    value: FloatArray,
    subject: IntArray,
    group: IntArray,
    *,
    alpha: float = 0.01,
    gene_numbers: tuple[int, ...] = (100, 300, 1000, 3000),
) -> SampleIdentity | None:
    """Find samples that are another subject's; H0 for each: it belongs to the subject recorded.

    Group means and the directions between groups are taken out of `value`. For each sample anew, and
    without it, the genes are ranked by their variance between subjects against that within them; on the first
    of these the sample is correlated with the mean profile of every subject in the other groups (in the same
    group where there is only one). What a sample looks like has thus no part in choosing its genes, and
    without any likeness within subjects each subject is as good as another. Of `gene_numbers` the one counts
    that tells people apart best: by which the lower quartile of the lead of the own
    subject over any other is largest. Few genes do where a few differ much between people, many where many
    differ a little.

    Fisher-transformed correlations with strangers tell by their median and MAD how alike strangers are: the
    scores of strangers are then about N(0, 1), those with the own subject N(m, s^2) by their median and MAD
    (s at least 1). A sample is called another's if people can be told apart at all (see `recognised`) and

    * the score of the best of the k other subjects exceeds t(alpha / k), is nearer to m than to zero, and
      exceeds what 95 % of the recognised samples reach with their likest stranger (batches and tissue
      composition give such likeness heavy tails): a library that is merely bad is like nobody;
    * the own score is nearer to zero than to m;
    * it leads the own score by more than sqrt(1 + s^2) q - m, at least zero, where q belongs to the tail
      probability alpha / (n k) (Bonferroni over n samples and k strangers). A relative in the study does not
      come to lead, as the own score is higher still.

    t has two degrees of freedom less than there are subjects. q is of this t for a call that stands alone;
    for two samples of one group that point at each other's subjects it is of the normal distribution, since
    both would have to be wrong. A sample whose subject has no other needs the first alone, with
    alpha / (n k).

    Parameters
    ----------
    value : (genes, samples) array
        Expression on a variance-stabilised log scale, no NaN; without genes of the sex chromosomes where the
        expressed sex is to be independent evidence.
    subject, group : (samples,) arrays
        Codes from zero; a group is what a mean is taken out of (tissue and visit).
    alpha : float
        Largest probability of calling any sample of a study in which none is exchanged.
    gene_numbers : tuple of int
        Numbers of genes to try.

    Returns
    -------
    SampleIdentity or None
        None where fewer than four subjects or no subject with two samples can be compared.

    Raises
    ------
    ValueError
        If the shapes do not agree or a value is not finite.
    """
    _check(value, subject, group)
    n_subjects = int(subject.max(initial=-1)) + 1
    if n_subjects < FEWEST_SUBJECTS or np.bincount(subject).max() < 2:  # noqa: PLR2004 - a pair
        return None
    residual = without_groups(value, group)
    numbers = sorted({min(number, residual.shape[0]) for number in gene_numbers})
    judged = [
        _judge(correlation, subject, group, number, alpha)
        for number, correlation in zip(
            numbers, _correlations(residual, subject, group, n_subjects, numbers), strict=True
        )
    ]
    return max((one for one in judged if one is not None), key=lambda one: one.lead_of_own, default=None)


def _judge(
    correlation: FloatArray, subject: IntArray, group: IntArray, n_genes: int, alpha: float
) -> SampleIdentity | None:
    samples = np.arange(subject.size)
    is_stranger = subject[:, None] != np.arange(correlation.shape[1])
    transformed = np.arctanh(np.clip(correlation, -_LARGEST_CORRELATION, _LARGEST_CORRELATION))
    is_known = np.isfinite(transformed)
    is_compared = is_stranger & is_known
    own = transformed[samples, subject]
    if is_compared.sum() < FEWEST_SUBJECTS or not np.isfinite(own).any():
        return None
    centre, spread = median_and_mad(transformed[is_compared])
    if not spread > 0:
        return None
    score = (transformed - centre) / spread
    own_score = score[samples, subject]
    typical, own_spread = median_and_mad(own_score[np.isfinite(own_score)])
    best = np.where(is_compared, score, -np.inf).argmax(axis=1)
    has_best = is_compared.any(axis=1)
    lead = np.where(has_best, score[samples, best], -np.inf)
    is_recognised = has_best & (own_score > lead)
    can_be = has_best & np.isfinite(own_score)
    k = int(is_compared.sum(axis=1).max())
    usual = float(np.quantile(lead[is_recognised], 0.95)) if is_recognised.any() else np.inf
    tail = stats.t(correlation.shape[1] - 2)
    everywhere = alpha / (k * subject.size)
    critical = max(float(tail.isf(alpha / k)), typical / 2, usual)
    width = np.hypot(1, max(own_spread, 1))
    margin = max(0.0, float(width * tail.isf(everywhere) - typical))
    margin_of_two = max(0.0, float(width * stats.norm.isf(everywhere) - typical))
    leads = (lead > critical) & (own_score < typical / 2)
    ahead = lead - own_score
    points_back = _point_back(leads & (ahead > margin_of_two), subject, group, best)
    is_other = np.where(
        np.isnan(own_score),
        lead > max(critical, float(tail.isf(everywhere))),
        leads & (ahead > np.where(points_back, margin_of_two, margin)),
    )
    is_concerned = np.isin(subject, np.concatenate([subject[is_other], best[is_other]]))
    undisputed = can_be & ~is_concerned
    recognised = float(is_recognised[undisputed].mean()) if undisputed.any() else 0.0
    return SampleIdentity(
        correlation=correlation,
        score=score,
        own=correlation[samples, subject],
        best=np.where(has_best, best, -1),
        best_correlation=np.where(has_best, correlation[samples, best], np.nan),
        is_other=is_other & (recognised >= LEAST_RECOGNISED),
        critical=critical,
        margin=margin,
        recognised=recognised,
        lead_of_own=float(np.quantile((own_score - lead)[can_be], 0.25)) if can_be.any() else -np.inf,
        alpha=alpha,
        n_genes=n_genes,
    )


def _point_back(is_candidate: BoolArray, subject: IntArray, group: IntArray, best: IntArray) -> BoolArray:
    """Return the candidates to which a candidate of the same group, of the subject they resemble, points."""
    pairs = (
        is_candidate[:, None]
        & is_candidate
        & (group[:, None] == group)
        & (best[:, None] == subject)
        & (subject[:, None] == best)
    )
    found: BoolArray = pairs.any(axis=1)
    return found


def without_groups(value: FloatArray, group: IntArray) -> FloatArray:
    """Return what is left of each sample without its group's mean and the directions between groups.

    The second step matters for a sample recorded in the wrong group, which would otherwise carry the
    difference of the groups into every comparison.
    """
    n_groups = int(group.max(initial=0)) + 1
    member = np.eye(n_groups)[group]
    size = member.sum(axis=0)
    mean = value @ (member / np.maximum(size, 1))
    residual = value - mean[:, group]
    if n_groups == 1:
        centred: FloatArray = residual
        return centred
    between = mean[:, size > 0] - (value.mean(axis=1))[:, None]
    left, strength, _ = np.linalg.svd(between, full_matrices=False)
    axis = left[:, strength > strength[0] * 1e-8] if strength[0] > 0 else left[:, :0]
    projected: FloatArray = residual - axis @ (axis.T @ residual)
    return projected


def _check(value: FloatArray, subject: IntArray, group: IntArray) -> None:
    if value.ndim != 2 or subject.shape != (value.shape[1],) or group.shape != subject.shape:  # noqa: PLR2004
        raise ValueError(
            f"value: shape {value.shape} beside {subject.shape} subjects and {group.shape} groups:"
            " must be genes by samples, with one subject and group each"
        )
    if not np.isfinite(value).all():
        raise ValueError("value: every value must be finite")


def _correlations(
    residual: FloatArray, subject: IntArray, group: IntArray, n_subjects: int, numbers: list[int]
) -> FloatArray:
    """Correlate each sample with each subject's mean profile in the groups it is compared in.

    The result is (numbers, samples, subjects): one table for each number of genes. The sample leaves the mean
    of its group as well: among few samples it would otherwise be what the others lack, and look like the
    one that is missing.
    """
    n_samples = subject.size
    member = np.eye(n_subjects)[subject]
    total = residual @ member
    square = (residual**2).sum(axis=1)
    size = member.sum(axis=0)
    has_groups = np.unique(group).size > 1
    result = np.full((len(numbers), n_samples, n_subjects), np.nan)
    for sample in range(n_samples):
        peers = (group == group[sample]) & (np.arange(n_samples) != sample)
        if not peers.any():
            continue
        its = residual[:, sample]
        shift = its / peers.sum()
        rest = size.copy()
        rest[subject[sample]] -= 1
        sums = total + np.outer(shift, member[peers].sum(axis=0))
        sums[:, subject[sample]] -= its
        order = _most_personal_first(sums, rest, square - its**2 - its * shift, numbers[-1])
        compared = (group != group[sample]) if has_groups else peers
        weight = member[compared]
        number_of = weight.sum(axis=0)
        profile = residual[order][:, compared] @ (weight / np.maximum(number_of, 1))
        if not has_groups:
            profile += shift[order, None]
        for place, number in enumerate(numbers):
            one = _pearson(its[order[:number]], profile[:number])
            result[place, sample] = np.where(number_of > 0, one, np.nan)
    return result


def _most_personal_first(sums: FloatArray, size: FloatArray, square: FloatArray, number: int) -> IntArray:
    """Return the genes with most variance between subjects for that within them, the clearest first."""
    between = (sums**2 / np.maximum(size, 1)).sum(axis=1)
    within = np.maximum(square - between, 0) + 1e-3 * square + np.finfo(np.float64).tiny
    ratio = between / within
    first = np.argpartition(-ratio, number - 1)[:number]
    return first[np.argsort(-ratio[first], kind="stable")]


def _pearson(one: FloatArray, many: FloatArray) -> FloatArray:
    one = one - one.mean()
    many = many - many.mean(axis=0)
    scale = np.sqrt((one @ one) * (many**2).sum(axis=0))
    correlation: FloatArray = (one @ many) / np.where(scale > 0, scale, np.inf)
    return correlation
