"""Compute the spread of a row of language models."""

from dataclasses import dataclass

import numpy as np

from nondet.analysis.resampling import RESAMPLES, bootstrap
from nondet.analysis.stats import Interval, Spread, bootstrap_spread, pair_mean, unbiased_sd
from nondet.analysis.streaming import Measures


@dataclass(frozen=True, eq=False)
class LanguageStatistics:
    """The spread of one row of language models on the N tokens of the test text.

    Cross-entropy is in nats per token, perplexity its exponential, disagreement in percent.
    Measures of two runs are averaged over all pairs. Intervals are nominal 95%, from a jackknife
    over runs.

    Attributes:
        perplexities, cross_entropies: (runs,) float64.
        perplexity, cross_entropy: SD with divisor n and its bootstrap standard error.
        perplexity_unbiased, cross_entropy_unbiased: unbiased ones, with their intervals.
        correlation: Spearman's, of the flattened test logits of two runs.
        ensemble_perplexity, ensemble_cross_entropy: change by averaging two runs.
        cka: of the hidden states of two runs, by name of the layer, from first to last.
        measures: the values all this is computed from.
    """

    perplexities: np.ndarray
    cross_entropies: np.ndarray
    perplexity: Spread
    perplexity_unbiased: Interval
    cross_entropy: Spread
    cross_entropy_unbiased: Interval
    disagreement: Interval
    correlation: Interval
    ensemble_perplexity: Interval
    ensemble_cross_entropy: Interval
    cka: dict[str, Interval]
    measures: Measures

    @property
    def perplexity_mean(self) -> float:
        """Return the mean perplexity of the runs."""
        return float(self.perplexities.mean())

    @property
    def cross_entropy_mean(self) -> float:
        """Return the mean cross-entropy of the runs, in nats per token."""
        return float(self.cross_entropies.mean())

    @property
    def last_cka(self) -> Interval:
        """Return the CKA of the last layer; NaN if there is none."""
        return next(reversed(self.cka.values()), Interval(np.nan, np.nan, np.nan))


def language_statistics(measures: Measures, resamples: int = RESAMPLES) -> LanguageStatistics:
    """Compute the statistics of at least two runs, with generators of fixed seeds."""
    perplexities, cross_entropies = measures.perplexities, measures.cross_entropies

    def lost(matrix: np.ndarray) -> Interval:
        # -ln p and the exponential are convex, so that averaging probabilities raises neither.
        return pair_mean(matrix, high=0)

    return LanguageStatistics(
        perplexities=perplexities,
        cross_entropies=cross_entropies,
        perplexity=bootstrap_spread(perplexities, bootstrap("perplexity"), resamples),
        perplexity_unbiased=unbiased_sd(perplexities),
        cross_entropy=bootstrap_spread(cross_entropies, bootstrap("cross-entropy"), resamples),
        cross_entropy_unbiased=unbiased_sd(cross_entropies),
        disagreement=pair_mean(100 * measures.disagreement, low=0, high=100),
        correlation=pair_mean(measures.correlation, low=-1, high=1),
        ensemble_perplexity=lost(measures.ensemble_perplexity),
        ensemble_cross_entropy=lost(measures.ensemble_cross_entropy),
        cka={name: pair_mean(matrix, low=-1, high=1) for name, matrix in measures.cka.items()},
        measures=measures,
    )
