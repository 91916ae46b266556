"""Learning rates: pure functions of configuration and step, so that none need be saved to resume.

Every schedule begins with a linear warm-up (Goyal et al. 2017, "Accurate, Large Minibatch SGD",
Sec. 2.2; here from 0, as in the paper's code): the very first step has learning rate 0, the step at
`warmup_epochs` the highest one. The next step takes the value that the schedule would have without
a warm-up: epochs are counted from the beginning of the training, not from the end of the warm-up.

This module does not import torch.
"""

import math

from nondet.studies.config import RunConfig
from nondet.studies.errors import SettingError


def steps_in_epoch(config: RunConfig, examples: int) -> int:
    """Return the number of optimizer steps in an epoch of so many training images: 0 if there are
    fewer than a batch and these are left out.
    """
    whole, rest = divmod(examples, config.batch_size)
    return whole if config.drop_last or not rest else whole + 1


def check_batch(config: RunConfig, size: int) -> None:
    """Raise SettingError if training data of this size give no optimizer step.

    size: the number of training images, or of the tokens of a training text.
    """
    if config.language is None and steps_in_epoch(config, size) == 0:
        raise SettingError(
            f"batch_size is {config.batch_size}; the data set has {size} training examples",
            "batch_size",
        )
    if config.language is not None and size // config.batch_size < 2:
        raise SettingError(
            f"batch_size is {config.batch_size}; the {size} tokens of the training text are fewer "
            "than two for each piece",
            "batch_size",
        )


def lr_at(config: RunConfig, step: int, steps_per_epoch: int) -> float:
    """Return the learning rate of an optimizer step, counted from 0.

    After the warm-up, with t = step / steps_per_epoch:

    cosine: lr (1 + cos(pi t / epochs)) / 2 (Loshchilov and Hutter 2017, "SGDR", eq. 5, one cycle).
    snapshots: the same in each of `cycles` cycles of epochs / cycles epochs, from lr to 0 (Huang et
    al. 2017, "Snapshot Ensembles", eq. 2). Only the first cycle has a warm-up; with `cycle_warmup`
    each has, and epochs are counted from its beginning.
    step: lr decay**(number of milestones that are at most t).
    constant: lr.

    Raises ValueError for a negative step or steps_per_epoch below 1.
    """
    if step < 0:
        raise ValueError(f"step is {step}; it must be at least 0")
    if steps_per_epoch < 1:
        raise ValueError(f"steps_per_epoch is {steps_per_epoch}; it must be at least 1")
    epoch = in_cycle = step / steps_per_epoch
    length = config.epochs
    if config.schedule == "snapshots":
        length //= config.cycles
        # The remainder of whole steps is exact: a rounded one could miss the start of a cycle.
        in_cycle = step % (length * steps_per_epoch) / steps_per_epoch
    begun = in_cycle if config.cycle_warmup else epoch
    if begun <= config.warmup_epochs and config.warmup_epochs > 0:
        return config.lr * begun / config.warmup_epochs
    match config.schedule:
        case "cosine" | "snapshots":
            return _cosine(config.lr, in_cycle, length)
        case "step":
            passed = sum(milestone <= epoch for milestone in config.milestones)
            return config.lr * config.decay**passed
        case "constant":
            return config.lr


def snapshot_epochs(config: RunConfig) -> tuple[int, ...]:
    """Return the epochs, counted from 1, after which a snapshot is taken: the last of every cycle.
    Empty unless the schedule is "snapshots".
    """
    if config.schedule != "snapshots":
        return ()
    length = config.epochs // config.cycles
    return tuple(range(length, config.epochs + 1, length))


def _cosine(lr: float, epoch: float, epochs: int) -> float:
    return lr * 0.5 * (1 + math.cos(math.pi * epoch / epochs))
