"""Training one model: a pure function of its configuration and its seeds."""

from nondet.determinism import deterministic
from nondet.result import DivergedError, EpochRecord, Result
from nondet.train.images import ImageTraining
from nondet.train.language import LanguageTraining
from nondet.train.loop import make_training, train
from nondet.train.training import Training, perturbation_step

__all__ = [
    "DivergedError",
    "EpochRecord",
    "ImageTraining",
    "LanguageTraining",
    "Result",
    "Training",
    "deterministic",
    "make_training",
    "perturbation_step",
    "train",
]
