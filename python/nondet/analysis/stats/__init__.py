"""Statistics of repeated trainings; docs/statistics.md has the formulas and their sources.

Everything random draws from the numpy Generator it is given: equal generators give equal results.
"""

from nondet.analysis.stats.components import Components, components
from nondet.analysis.stats.ensembles import group_means, partitions, reduction
from nondet.analysis.stats.finite_test_set import SamplingShare, sampling_share
from nondet.analysis.stats.growth import Growth, barrier, growth_rates
from nondet.analysis.stats.intervals import Interval
from nondet.analysis.stats.pairs import mean_over_pairs, pair_mean
from nondet.analysis.stats.spread import (
    Spread,
    bootstrap_spread,
    sd_ratio,
    standard_deviation,
    unbiased_sd,
)

__all__ = [
    "Components",
    "Growth",
    "Interval",
    "SamplingShare",
    "Spread",
    "barrier",
    "bootstrap_spread",
    "components",
    "group_means",
    "growth_rates",
    "mean_over_pairs",
    "pair_mean",
    "partitions",
    "reduction",
    "sampling_share",
    "sd_ratio",
    "standard_deviation",
    "unbiased_sd",
]
