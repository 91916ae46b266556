"""Statistics of repeated trainings; docs/statistics.md has the formulas and their sources.

Everything random draws from the numpy Generator it is given: equal generators give equal results.
"""

from nondet.stats.components import Components, components
from nondet.stats.ensembles import group_means, partitions, reduction
from nondet.stats.growth import Growth, barrier, growth_rates
from nondet.stats.intervals import Interval
from nondet.stats.pairs import mean_over_pairs, pair_mean
from nondet.stats.spread import (
    Spread,
    bootstrap_spread,
    sd_ratio,
    standard_deviation,
    unbiased_sd,
)
from nondet.stats.test_set import TestSetTerm, test_set_term

__all__ = [
    "Components",
    "Growth",
    "Interval",
    "Spread",
    "TestSetTerm",
    "barrier",
    "bootstrap_spread",
    "components",
    "group_means",
    "growth_rates",
    "mean_over_pairs",
    "pair_mean",
    "partitions",
    "reduction",
    "sd_ratio",
    "standard_deviation",
    "test_set_term",
    "unbiased_sd",
]
