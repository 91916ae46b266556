"""Test what a running study prints."""

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from nondet.cli.progress import Counts, LiveProgress, PlainProgress, QuietProgress, rows_table
from nondet.cli.time_left import seconds_left
from nondet.execute.jobs import Outcome


def console(height=24, terminal=True):
    return Console(file=io.StringIO(), width=80, height=height, force_terminal=terminal)


def shown(counts, lines):
    page = console(height=100, terminal=False)
    page.print(rows_table(counts.rows, lines, 80))
    return page.file.getvalue().splitlines()


@pytest.fixture
def plan(plan):
    """Return a plan for one model whose last row repeats the runs of shuffling."""
    rows = [row for row in plan.rows if row.name in ("control", "shuffling", "one bit")]
    again = replace(rows[1], name="shuffling again")
    return replace(plan, rows=(*rows, again), configs=plan.configs[:1])


def jobs_of(plan, name):
    [row] = [row for row in plan.rows if row.name == name]
    return plan.jobs(plan.configs[0], row)


def test_a_shared_run_counts_in_each_row_and_once_in_the_total(plan):
    counts = Counts(plan, {jobs_of(plan, "control")[0]: Outcome(1.0, False)}, workers=1)
    job = jobs_of(plan, "shuffling")[0]
    rows = counts.finished(job, Outcome(1.0, True))
    assert [row.name for row in rows] == ["shuffling", "shuffling again"]
    assert [(row.done, row.planned, row.failed) for row in counts.rows] == [
        (1, 2, 0),
        (1, 2, 1),
        (0, 2, 0),
        (1, 2, 1),
    ]
    assert (counts.done, len(counts.ends)) == (2, 6)


def test_every_row_is_shown_where_there_is_room(plan):
    counts = Counts(plan, {}, 1)
    counts.finished(jobs_of(plan, "shuffling")[0], Outcome(1.0, True))
    lines = shown(counts, 4)
    assert [line[:16].strip() for line in lines] == [row.name for row in plan.rows]
    assert lines[1].split()[-3:] == ["1/2", "1", "failed"]
    assert lines[2].split()[-1] == "0/2"


def test_rows_under_way_are_shown_first_where_there_is_little_room(plan):
    counts = Counts(plan, {}, 1)
    for job in jobs_of(plan, "control"):
        counts.finished(job, Outcome(1.0, False))
    counts.finished(jobs_of(plan, "one bit")[1], Outcome(1.0, False))
    three = shown(counts, 3)
    assert [line.split()[0] for line in three] == ["shuffling", "one", "and"]
    assert three[2].startswith("and 2 more rows, 1 of them done")
    assert shown(counts, 1) == ["and 4 more rows, 1 of them done".ljust(len(shown(counts, 1)[0]))]
    assert len(shown(counts, 0)) == 1


def test_time_left_follows_the_runs_of_a_row_then_of_the_model_then_all():
    kinds = {n: ("aaaabbbbcc"[n], "other" if n >= 8 else "model", None) for n in range(10)}
    ends = dict.fromkeys(range(10))
    assert seconds_left(ends, kinds, 2) is None
    ends |= {0: Outcome(10.0, False), 1: Outcome(20.0, False), 2: Outcome(1e9, True)}
    # One run of row a remains, four of b, and two of the other model, which has no finished run.
    assert seconds_left(ends, kinds, 2) == 7 * 15 / 2
    ends[4] = Outcome(3.0, False)
    # A run takes 15 s in row a, 3 s in row b, and in the other model the mean of the three, 11 s.
    assert seconds_left(ends, kinds, 1) == 15 + 3 * 3 + 2 * 11
    assert seconds_left({**ends, **dict.fromkeys(range(3, 9), Outcome(1.0, False))}, kinds, 8) > 0
    # Idle workers save no time.
    one = {0: Outcome(10.0, False), 1: None}
    assert seconds_left(one, kinds, 8) == 10
    assert seconds_left({0: Outcome(10.0, False)}, kinds, 8) == 0


def run(progress, plan):
    """Report the progress of a study with one failure, in which all but the last run end."""
    progress.proving()
    progress.start(plan, {jobs_of(plan, "control")[0]: Outcome(2.0, False)}, 1)
    for job in list(plan.tasks())[1:-1]:
        progress.finished(job, Outcome(2.0, failed=job.seeds.shuffle == 3))
    progress.message("[something] worth knowing")


def test_plain_progress_has_a_line_per_finished_row(plan):
    page = console(terminal=False)
    progress = PlainProgress(page)
    run(progress, plan)
    progress.close()
    lines = [line.split("s  ", 1)[-1] for line in page.file.getvalue().splitlines()]
    assert lines == [
        "proving the control: every model twice with equal seeds",
        "control proved: every bit of every weight and prediction agrees",
        "note: 1 of 6 runs were already there",
        "control: 2 runs; 8 s left",
        "shuffling: 2 runs, 1 failed; 4 s left",
        "shuffling again: 2 runs, 1 failed; 4 s left",
        "note: [something] worth knowing",
    ]


def test_live_progress_shows_rows_the_whole_and_the_time_left(plan):
    page = console()
    progress = LiveProgress(page)
    run(progress, plan)
    progress._live.refresh()
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", page.file.getvalue())
    progress.close()
    progress.close()
    last = text[text.rindex("control ") :]
    for part in ("shuffling again", "1 failed", "5/6 runs", "about 2 s left"):
        assert part in last
    assert "[something] worth knowing" in text


def test_live_progress_is_no_higher_than_the_terminal(plan):
    page = console(height=4)
    progress = LiveProgress(page)
    progress.start(plan, {}, 1)
    view = progress._view()
    progress.close()
    plain = console(height=100, terminal=False)
    plain.print(view)
    assert len(plain.file.getvalue().splitlines()) == 3


def test_quiet_progress_prints_only_notes(plan):
    page = console(terminal=False)
    run(QuietProgress(page), plan)
    assert page.file.getvalue() == "note: [something] worth knowing\n"
