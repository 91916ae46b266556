"""Measure all pairs of models whose outputs do not fit in memory: language models have a logit for
every token of a text and every word of the vocabulary.
"""

from nondet.analysis.streaming.measures import Measures, measure
from nondet.analysis.streaming.source import Source
from nondet.analysis.streaming.tiles import plan_tiles

__all__ = ["Measures", "Source", "measure", "plan_tiles"]
