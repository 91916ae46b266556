"""Measures of all pairs of models whose outputs do not fit in memory: language models, whose logits
are one number for every token of a text and every word type.
"""

from nondet.analysis.streaming.measures import Measures, measure
from nondet.analysis.streaming.source import Source
from nondet.analysis.streaming.tiles import plan_tiles

__all__ = ["Measures", "Source", "measure", "plan_tiles"]
