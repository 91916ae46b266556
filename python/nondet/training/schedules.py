"""Learning rates: pure functions of the configuration and the step, so that nothing has to be
saved for a training to resume.

Every schedule begins with a warm-up linear in steps (Goyal et al. 2017, "Accurate, Large Minibatch
SGD", Sec. 2.2; here from 0, as in the paper's code): the very first step has rate 0, the step at
`warmup_epochs` has the highest rate. The next step takes up the schedule where it would be without
a warm-up: epochs are counted from the beginning of the training, not from the warm-up's end.
"""

import math

from nondet.studies.config import RunConfig


def lr_at(config: RunConfig, step: int, steps_per_epoch: int) -> float:
    """The learning rate of an optimizer step, counted from 0.

    With t = step / steps_per_epoch, in epochs, after the warm-up:

    cosine: lr (1 + cos(pi t / epochs)) / 2 (Loshchilov and Hutter 2017, "SGDR", eq. 5, one cycle).
    snapshots: the same over each of `cycles` cycles of epochs / cycles epochs; a cycle begins at lr
    and falls to 0 (Huang et al. 2017, "Snapshot Ensembles", eq. 2). The first one alone is warmed
    up.
    step: lr decay**(number of milestones that are at most t).
    constant: lr.

    Raises ValueError for a negative step or steps_per_epoch below 1.
    """
    if step < 0:
        raise ValueError(f"step is {step}; it must be at least 0")
    if steps_per_epoch < 1:
        raise ValueError(f"steps_per_epoch is {steps_per_epoch}; it must be at least 1")
    epoch = step / steps_per_epoch
    if epoch <= config.warmup_epochs and config.warmup_epochs > 0:
        return config.lr * epoch / config.warmup_epochs
    match config.schedule:
        case "cosine":
            return _cosine(config.lr, epoch, config.epochs)
        case "snapshots":
            length = config.epochs // config.cycles
            # The remainder is taken of whole steps: a rounded one could miss a cycle's beginning.
            return _cosine(config.lr, step % (length * steps_per_epoch) / steps_per_epoch, length)
        case "step":
            passed = sum(milestone <= epoch for milestone in config.milestones)
            return config.lr * config.decay**passed
        case "constant":
            return config.lr


def snapshot_epochs(config: RunConfig) -> tuple[int, ...]:
    """The epochs, counted from 1, after which a snapshot is taken: the last of every cycle, where
    the rate reaches 0. Empty unless the schedule is "snapshots".
    """
    if config.schedule != "snapshots":
        return ()
    length = config.epochs // config.cycles
    return tuple(range(length, config.epochs + 1, length))


def _cosine(highest: float, epoch: float, epochs: int) -> float:
    return highest * 0.5 * (1 + math.cos(math.pi * epoch / epochs))
