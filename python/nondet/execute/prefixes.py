"""Shared beginnings: runs whose sources are held until an epoch are one training until there.

    DIR/prefixes/<address>/epoch-<k>/    the state after epoch k, as a checkpoint

The address is that of the held training as a job of its own.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from nondet.studies.job import Job
from nondet.studies.seeds import HELD, effective
from nondet.studies.specs import PerturbationSpec


@dataclass(frozen=True)
class Prefix:
    """A held training (`job`) and the epochs, in increasing order, whose states are wanted."""

    job: Job
    epochs: tuple[int, ...]

    def folder(self, root: Path, epoch: int) -> Path:
        """Where the state after `epoch` epochs lies, under the folder of all prefixes."""
        return root / self.job.address / f"epoch-{epoch:05}"


def prefix_of(job: Job) -> Prefix | None:
    """What a job shares with others: its training up to the first onset of a source of its own;
    None where that is the beginning.
    """
    own = [source for source, seed in vars(job.seeds).items() if seed != HELD]
    onsets = [epoch for source, epoch in vars(job.onset).items() if source in own]
    late = [epoch for epoch in onsets if epoch > 0]
    if not late:
        return None
    epoch = min(late)
    seeds = effective(job.seeds, job.onset, epoch - 1)
    config = job.config
    # What is decided by a held seed leaves no trace of how it would be decided otherwise.
    if seeds.bit == HELD:
        config = replace(config, perturbation=PerturbationSpec())
    if seeds.lowlevel == HELD and config.lowlevel in ("seeded", "atomic"):
        config = replace(config, lowlevel="seeded")
    return Prefix(Job(config, seeds), (epoch,))


def shared_prefixes(jobs: Iterable[Job]) -> list[Prefix]:
    """The held trainings that the jobs begin with, each once, with all epochs wanted of it."""
    wanted: defaultdict[Job, set[int]] = defaultdict(set)
    for job in jobs:
        prefix = prefix_of(job)
        if prefix is not None:
            wanted[prefix.job].update(prefix.epochs)
    return [Prefix(job, tuple(sorted(epochs))) for job, epochs in wanted.items()]
