"""Find prefixes of trainings that several runs share.

Runs whose sources are held until an epoch are the same training up to that epoch. It is trained
once, and its state is saved as a checkpoint:

    DIR/prefixes/<address>/epoch-<k>/    the state after epoch k

The address is that of the held training as a job.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from nondet.studies.job import Job
from nondet.studies.seeds import HELD, SOURCES, effective, is_held
from nondet.studies.specs import PerturbationSpec


@dataclass(frozen=True)
class Prefix:
    """A held training (`job`), and the epochs after which its state is saved, in order."""

    job: Job
    epochs: tuple[int, ...]

    def place(self, root: Path) -> Path:
        """Return the folder of its states. root: the folder of all prefixes."""
        return root / self.job.address

    def folder(self, root: Path, epoch: int) -> Path:
        """Return the folder of the state after `epoch` epochs. root: the folder of all prefixes."""
        return self.place(root) / f"epoch-{epoch:05}"


def prefix_of(job: Job) -> Prefix | None:
    """Return the part of a job that other jobs may share: its training up to the first epoch, after
    epoch 0, at which a source gets a seed of its own. None if no source begins after epoch 0.
    """
    constant = job.config.held_seed
    own = [source for source in SOURCES if not is_held(job.seeds, source, constant)]
    onsets = [epoch for source, epoch in vars(job.onset).items() if source in own]
    late = [epoch for epoch in onsets if epoch > 0]
    if not late:
        return None
    epoch = min(late)
    seeds = effective(job.seeds, job.onset, epoch - 1, constant)
    config = job.config
    # While a source is held, its settings have no effect: use the default, so that more jobs share.
    if seeds.bit == HELD:
        config = replace(config, perturbation=PerturbationSpec())
    if seeds.lowlevel == HELD and config.lowlevel in ("seeded", "atomic"):
        config = replace(config, lowlevel="seeded")
    return Prefix(Job(config, seeds, data=job.data), (epoch,))


def shared_prefixes(jobs: Iterable[Job], others: Iterable[Job] = ()) -> list[Prefix]:
    """Return the prefixes of the jobs, those of the same training merged into one.

    others: jobs of other shards; the epochs at which they begin are added on the way to the last
    that a job of ours needs, so that whoever comes first computes the states for all.
    """
    wanted = _epochs(jobs)
    theirs = _epochs(others)
    for job, epochs in wanted.items():
        epochs.update(epoch for epoch in theirs.get(job, ()) if epoch < max(epochs))
    return [Prefix(job, tuple(sorted(epochs))) for job, epochs in wanted.items()]


def _epochs(jobs: Iterable[Job]) -> dict[Job, set[int]]:
    """Return the epochs at which the jobs leave the trainings that they share."""
    wanted: defaultdict[Job, set[int]] = defaultdict(set)
    for job in jobs:
        prefix = prefix_of(job)
        if prefix is not None:
            wanted[prefix.job].update(prefix.epochs)
    return wanted
