"""What a running study shows: a live bar on a terminal, plain lines elsewhere, or nothing."""

import time
from collections import Counter

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from nondet.config import Job
from nondet.study import Plan


class QuietProgress:
    """Says nothing but what the reader must know."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def message(self, text: str) -> None:
        self.console.print(f"note: {text}", style="yellow", markup=False, soft_wrap=True)

    def proving(self) -> None:
        pass

    def start(self, plan: Plan, done: list[Job]) -> None:
        pass

    def finished(self, job: Job) -> None:
        pass

    def close(self) -> None:
        """Ends the display; safe to call twice."""


class _RowProgress(QuietProgress):
    """Counts the finished runs of every row."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._rows: dict[Job, str] = {}
        self._planned: Counter[str] = Counter()
        self._done: Counter[str] = Counter()

    def start(self, plan: Plan, done: list[Job]) -> None:
        for config in plan.configs:
            for row in plan.rows_of(config):
                for job in plan.jobs(config, row):
                    self._rows[job] = f"{config.model}, {row.name}"
        self._planned.update(self._rows.values())
        self._done.update(self._rows[job] for job in done)
        if done:
            self.message(f"{len(done)} of {len(self._rows)} runs were already there")

    def finished(self, job: Job) -> None:
        self._done[self._rows[job]] += 1


class PlainProgress(_RowProgress):
    """One line per finished row."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._began = time.monotonic()

    def proving(self) -> None:
        self._line("proving the control: every model twice with equal seeds")

    def start(self, plan: Plan, done: list[Job]) -> None:
        self._line("control proved: every bit of every weight and prediction agrees")
        super().start(plan, done)

    def finished(self, job: Job) -> None:
        super().finished(job)
        row = self._rows[job]
        if self._done[row] == self._planned[row]:
            self._line(f"{row}: {self._planned[row]} runs")

    def _line(self, text: str) -> None:
        seconds = time.monotonic() - self._began
        self.console.print(f"{seconds:6.1f} s  {text}", markup=False)


class LiveProgress(_RowProgress):
    """A bar with the row in hand, runs done, time elapsed and time left."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._bar = Progress(
            TextColumn("{task.description:<34}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("runs"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task("starting", total=None)
        self._bar.start()

    def proving(self) -> None:
        self._bar.update(self._task, description="proving the control")

    def start(self, plan: Plan, done: list[Job]) -> None:
        super().start(plan, done)
        self.console.print(
            "[green]control proved[/]: every bit of every weight and prediction agrees"
        )
        self._bar.update(self._task, total=len(self._rows), completed=len(done))

    def finished(self, job: Job) -> None:
        super().finished(job)
        self._bar.update(self._task, advance=1, description=self._rows[job])

    def close(self) -> None:
        self._bar.stop()
