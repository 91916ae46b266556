"""Shards of a study: equal parts of its runs, for machines that share nothing but a folder."""

import re
from dataclasses import dataclass

from nondet.studies.job import Job
from nondet.studies.row import Keep
from nondet.studies.study import Plan

MOST = 1_000_000
"""The largest number of shards."""

_SHARD = re.compile("([0-9]{1,7})/([0-9]{1,7})")


@dataclass(frozen=True)
class Shard:
    """One of `count` parts of a study's runs, the `index`-th, counted from 1.

    Raises ValueError unless 1 <= index <= count <= `MOST`.
    """

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count <= MOST:
            raise ValueError(
                f"the shard is {self.index}/{self.count}; it must be INDEX/COUNT, with INDEX from "
                f"1 to COUNT, and COUNT at most {MOST:,}"
            )

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @staticmethod
    def parse(text: str) -> "Shard":
        """Return the shard that a text such as "3/16" names. Raises ValueError for others."""
        match = _SHARD.fullmatch(text)
        if match is None:
            raise ValueError(
                f"the shard is {text!r}; it must be INDEX/COUNT, such as 3/16 for the third of 16"
            )
        return Shard(int(match[1]), int(match[2]))

    def share(self, plan: Plan) -> dict[Job, frozenset[Keep]]:
        """Return the runs of a plan that belong to this shard, with what is recorded of each.

        Every run belongs to one shard, whatever is stored already. The runs of a model, in the
        order of the rows, are dealt out in turn; so the shards' numbers of runs differ by at most
        one, in total, of each model, and of each row's runs of a model that no earlier row has.
        """
        models = [config.model for config in plan.configs]
        tasks = sorted(plan.tasks().items(), key=lambda task: models.index(task[0].config.model))
        numbers: dict[str, int] = {}  # rows may describe one run differently
        share = {}
        for job, keeps in tasks:
            number = numbers.setdefault(job.address, len(numbers))
            if number % self.count == self.index - 1:
                share[job] = keeps
        return share
