"""Show the progress of a study: live on a terminal, as lines elsewhere, or not at all."""

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from nondet.characters import printable
from nondet.cli.time_left import seconds_left
from nondet.execute.jobs import Outcome
from nondet.studies.job import Job
from nondet.studies.study import Plan
from nondet.units import duration


@dataclass
class RowCount:
    """The progress of a row of a model. ends: its runs and their outcomes, None while
    unfinished.
    """

    name: str
    ends: dict[Job, Outcome | None] = field(default_factory=dict)

    @property
    def planned(self) -> int:
        return len(self.ends)

    @property
    def done(self) -> int:
        """Return the number of runs that ended, failed ones included."""
        return sum(end is not None for end in self.ends.values())

    @property
    def failed(self) -> int:
        return sum(end is not None and end.failed for end in self.ends.values())


class Counts:
    """The rows of a plan and all its runs, or those of a shard. A run that several rows share
    counts in each of them, and once in the total.
    """

    def __init__(
        self,
        plan: Plan,
        done: Mapping[Job, Outcome],
        workers: int,
        share: Collection[Job] | None = None,
    ) -> None:
        self.workers = workers
        tasks = plan.tasks() if share is None else share
        self.ends: dict[Job, Outcome | None] = {job: done.get(job) for job in tasks}
        self._kinds = {
            job: ((config.model, row.name), config.model, None)
            for config in plan.configs
            for row in reversed(plan.rows_of(config))  # the first row that has it counts
            for job in plan.jobs(config, row)
        }
        rows = [
            RowCount(
                row.name if len(plan.configs) == 1 else f"{config.model}, {row.name}",
                {job: done.get(job) for job in plan.jobs(config, row) if job in self.ends},
            )
            for config in plan.configs
            for row in plan.rows_of(config)
        ]
        self.rows = [row for row in rows if row.planned > 0]

    def finished(self, job: Job, outcome: Outcome) -> list[RowCount]:
        """Count a run and return its rows."""
        self.ends[job] = outcome
        found = [row for row in self.rows if job in row.ends]
        for row in found:
            row.ends[job] = outcome
        return found

    @property
    def done(self) -> int:
        return sum(end is not None for end in self.ends.values())

    def left(self) -> float | None:
        """Return the estimated seconds until all runs are done; None if unknown."""
        return seconds_left(self.ends, self._kinds, self.workers)


class QuietProgress:
    """Prints only messages that the reader must know."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def message(self, text: str) -> None:
        self.console.print(
            f"note: {printable(text, lines=True)}",
            style="yellow",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )

    def proving(self) -> None:
        pass

    def start(
        self,
        plan: Plan,
        done: Mapping[Job, Outcome],
        workers: int,
        share: Collection[Job] | None = None,
    ) -> None:
        pass

    def finished(self, job: Job, outcome: Outcome) -> None:
        pass

    def close(self) -> None:
        """End the display; safe to call twice."""


class _Counting(QuietProgress):
    """Counts the runs of every row once they begin."""

    counts: Counts | None = None

    def start(
        self,
        plan: Plan,
        done: Mapping[Job, Outcome],
        workers: int,
        share: Collection[Job] | None = None,
    ) -> None:
        self.counts = Counts(plan, done, workers, share)
        if done:
            self.message(f"{len(done)} of {len(self.counts.ends)} runs were already there")


class PlainProgress(_Counting):
    """Prints a line per finished row, with the time left."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._began = time.monotonic()

    def proving(self) -> None:
        self._line("proving the control: every model twice with equal seeds")

    def start(
        self,
        plan: Plan,
        done: Mapping[Job, Outcome],
        workers: int,
        share: Collection[Job] | None = None,
    ) -> None:
        self._line("control proved: every bit of every weight and prediction agrees")
        super().start(plan, done, workers, share)

    def finished(self, job: Job, outcome: Outcome) -> None:
        assert self.counts is not None
        for row in self.counts.finished(job, outcome):
            if row.done == row.planned:
                failed = f", {row.failed} failed" if row.failed else ""
                left = self.counts.left()
                more = f"; {duration(left)} left" if left else ""
                self._line(f"{row.name}: {row.planned} runs{failed}{more}")

    def _line(self, text: str) -> None:
        seconds = time.monotonic() - self._began
        self.console.print(f"{seconds:6.1f} s  {printable(text)}", markup=False, soft_wrap=True)


class LiveProgress(_Counting):
    """Shows a line per row with a bar, runs done and failed; below them the total, with the time
    left. Shows as many rows as fit the terminal, unfinished ones first.
    """

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._began = time.monotonic()
        self._end: float | None = None
        self._stage = "starting"
        self._spinner = Spinner("dots")
        self._live = Live(
            get_renderable=self._view, console=console, refresh_per_second=4, transient=True
        )
        self._live.start()

    def proving(self) -> None:
        self._stage = "proving the control: every model twice with equal seeds"

    def start(
        self,
        plan: Plan,
        done: Mapping[Job, Outcome],
        workers: int,
        share: Collection[Job] | None = None,
    ) -> None:
        self.console.print(
            "[green]control proved[/]: every bit of every weight and prediction agrees"
        )
        super().start(plan, done, workers, share)
        self._expect_end()

    def finished(self, job: Job, outcome: Outcome) -> None:
        assert self.counts is not None
        self.counts.finished(job, outcome)
        self._expect_end()

    def close(self) -> None:
        self._live.stop()

    def _expect_end(self) -> None:
        assert self.counts is not None
        left = self.counts.left()
        self._end = None if left is None else time.monotonic() + left

    def _view(self) -> Group:
        now = time.monotonic()
        elapsed = duration(now - self._began)
        if self.counts is None:
            self._spinner.update(text=Text(f"{self._stage}  {elapsed}"))
            return Group(self._spinner)
        counts = self.counts
        whole = Text(f"{counts.done}/{len(counts.ends)} runs  {elapsed}")
        if self._end is not None:
            whole.append(f"  about {duration(max(self._end - now, 0))} left")
        # The line of the whole, and the cursor's.
        return Group(rows_table(counts.rows, self.console.height - 2, self.console.width), whole)


def rows_table(rows: list[RowCount], lines: int, width: int) -> Table:
    """Return the rows with their bars, in at most `lines` lines: rows under way first, then those
    to come, then finished ones, each in the order of the study; the last line counts those left
    out.
    """
    shown = sorted(rows, key=lambda row: (row.done == row.planned, row.done == 0))
    room = max(lines, 1)
    if len(shown) > room:
        shown = shown[: room - 1]
    kept = {id(row) for row in shown}
    hidden = [row for row in rows if id(row) not in kept]
    table = Table.grid(padding=(0, 1))
    for _ in range(4):
        table.add_column(no_wrap=True, overflow="ellipsis")
    for row in (row for row in rows if id(row) in kept):
        bar = ProgressBar(total=row.planned, completed=row.done, width=24 if width >= 70 else 10)
        failed = Text(f"{row.failed} failed", style="red") if row.failed else Text()
        table.add_row(Text(printable(row.name)), bar, f"{row.done}/{row.planned}", failed)
    if hidden:
        done = sum(row.done == row.planned for row in hidden)
        table.add_row(Text(f"and {len(hidden)} more rows, {done} of them done", style="dim"))
    return table
