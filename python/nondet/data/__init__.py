"""Data sets in memory, and the random draws of their order and augmentation."""

from nondet.data.augment import Augmentation, apply_augmentation, batch, draw_augmentation
from nondet.data.dataset import Dataset, make_dataset
from nondet.data.loading import load_dataset
from nondet.data.order import epoch_order
from nondet.data.text import TextDataset, make_text

__all__ = [
    "Augmentation",
    "Dataset",
    "TextDataset",
    "apply_augmentation",
    "batch",
    "draw_augmentation",
    "epoch_order",
    "load_dataset",
    "make_dataset",
    "make_text",
]
