"""Statistics of repeated trainings; docs/statistics.md has the formulas and their sources.

Everything random draws from the numpy Generator it is given: equal generators give equal results.
"""

from nondet.analysis.stats.components import Components, components
from nondet.analysis.stats.difference import Difference, mean_difference, paired_difference
from nondet.analysis.stats.dominance import almost_stochastic_order
from nondet.analysis.stats.ensembles import group_means, partitions, reduction
from nondet.analysis.stats.exact import ExactTest, permutation_test, sign_flip_test, smallest_p
from nondet.analysis.stats.finite_test_set import SamplingShare, sampling_share
from nondet.analysis.stats.growth import Growth, barrier, growth_rates
from nondet.analysis.stats.intervals import Interval
from nondet.analysis.stats.pairs import mean_over_pairs, pair_mean, pair_ratio
from nondet.analysis.stats.power import (
    PairingGain,
    RunSpread,
    detectable_difference,
    paired_spread,
    pairing_gain,
    runs_needed,
    sd_interval,
    t_power,
    unpaired_spread,
)
from nondet.analysis.stats.several import holm
from nondet.analysis.stats.spread import (
    Spread,
    bootstrap_spread,
    detectable_sd_ratio,
    sd_ratio,
    standard_deviation,
    unbiased_sd,
)
from nondet.analysis.stats.superiority import (
    MEANINGFUL,
    Outperforming,
    noether_pairs,
    outperforming,
)
from nondet.analysis.stats.two_way import TwoWay, clustered_error, two_way_difference

__all__ = [
    "MEANINGFUL",
    "Components",
    "Difference",
    "ExactTest",
    "Growth",
    "Interval",
    "Outperforming",
    "PairingGain",
    "RunSpread",
    "SamplingShare",
    "Spread",
    "TwoWay",
    "almost_stochastic_order",
    "barrier",
    "bootstrap_spread",
    "clustered_error",
    "components",
    "detectable_difference",
    "detectable_sd_ratio",
    "group_means",
    "growth_rates",
    "holm",
    "mean_difference",
    "mean_over_pairs",
    "noether_pairs",
    "outperforming",
    "pair_mean",
    "pair_ratio",
    "paired_difference",
    "paired_spread",
    "pairing_gain",
    "partitions",
    "permutation_test",
    "reduction",
    "runs_needed",
    "sampling_share",
    "sd_interval",
    "sd_ratio",
    "sign_flip_test",
    "smallest_p",
    "standard_deviation",
    "t_power",
    "two_way_difference",
    "unbiased_sd",
    "unpaired_spread",
]
