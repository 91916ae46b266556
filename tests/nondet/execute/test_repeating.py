"""Rows in which the vendor's kernels alone vary are refused where repeated passes do not differ.

The kernels are those of `vendor_stand_in`; processes are this one.
"""

import os
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from factories import vendor_stand_in
from factories.commands import nondet as command
from factories.vendor_stand_in import STUDY, FreshSerial
from nondet.analysis.summary import summarize
from nondet.execute import repeating, runner
from nondet.execute.executors import ExecutorError, JobFailedError, LocalPool, Serial
from nondet.execute.prefixes import shared_prefixes
from nondet.execute.repeating import (
    PASSES,
    EqualRunsError,
    Repeated,
    attempt_trainings,
    check_varied,
    racing_rows,
    repeat_passes,
    run_repeat,
)
from nondet.execute.retries import Retries
from nondet.execute.runner import run_study
from nondet.report.build import notes
from nondet.store import MixedStudyError, Store
from nondet.store.repetitions import read_repetitions
from nondet.studies.config import RunConfig
from nondet.studies.row import Row
from nondet.studies.seeds import Onset
from nondet.studies.study import Plan
from nondet.training import loop
from nondet.training.repetition import Repetition

HERE = {("cpu", 1): {"device": "cpu", "torch_threads": 1, "gpu": "G"}}
CONFIG = RunConfig("digits", "hidden-conv", 1, 64, 0.1, warmup_epochs=0)
ROWS = (
    Row("control"),
    Row("kernels", ("lowlevel",)),
    Row("larger", ("lowlevel",), {"batch_size": 128}),
    Row("later", ("lowlevel",), {"lr": 0.2, "epochs": 2}),
    Row("both", ("lowlevel", "shuffle")),
    Row("nothing else", ("lowlevel", "stochastic", "augment")),
    Row("shuffling", ("shuffle",)),
    Row("ours", ("lowlevel",), {"lowlevel": "seeded"}),
)


@pytest.fixture
def steady(monkeypatch):
    vendor_stand_in.in_process(monkeypatch.setattr, "fixed")


@pytest.fixture
def racing(monkeypatch):
    vendor_stand_in.in_process(monkeypatch.setattr)


def planned(*models, rows=ROWS, **settings):
    vendor = {"lowlevel": "vendor", **settings}
    configs = tuple(replace(CONFIG, model=model, **vendor) for model in models)
    return Plan("races", "?", rows, configs, runs=2)


def names(rows):
    return [[(config.model, row.name) for config, row in members] for members in rows.values()]


def test_rows_of_equal_kernels_are_repeated_once(steady):
    plan = planned("hidden-conv")
    jobs = set(plan.tasks())
    assert names(racing_rows(plan, jobs)) == [
        [("hidden-conv", name) for name in ("kernels", "later", "both", "nothing else")],
        [("hidden-conv", "larger")],
    ]
    assert [config.batch_size for config in racing_rows(plan, jobs)] == [64, 128]
    two = planned("hidden-conv", "linear")
    assert [group[0][0] for group in names(racing_rows(two, two.tasks()))] == [
        *("hidden-conv", "hidden-conv", "linear", "linear")
    ]


@pytest.mark.parametrize(
    "settings", [{"precision": "bfloat16"}, {"batch_size": 63}, {"drop_last": False}]
)
def test_other_kernels_are_repeated_too(steady, settings):
    rows = (Row("plain", ("lowlevel",)), Row("other", ("lowlevel",), settings))
    plan = planned("hidden-conv", rows=rows)
    assert len(racing_rows(plan, plan.tasks())) == 2


def test_rows_whose_runs_are_stored_are_not_repeated(steady):
    plan = planned("hidden-conv")
    jobs = [job for job in plan.tasks() if job.config.batch_size == 128]
    assert names(racing_rows(plan, jobs)) == [[("hidden-conv", "larger")]]
    assert racing_rows(plan, plan.jobs(plan.configs[0], ROWS[6])) == {}
    assert racing_rows(plan, []) == {}


class Answers(FreshSerial):
    """Answers for processes: their digests, obstacle and environment, one after another."""

    def __init__(self, *answers):
        self.answers, self.items = list(answers), []

    def attempt_fresh(self, function, items, tries=2, retrying=None):
        for item, (digests, obstacle, environment) in zip(items, self.answers, strict=True):
            self.items.append(item)
            yield item, Repeated(Repetition(tuple(digests), obstacle), environment)


def repeated(*answers):
    plan = planned("hidden-conv", rows=ROWS[:2])
    [found] = repeat_passes(racing_rows(plan, plan.tasks()), HERE, HERE, Answers(*answers)).values()
    return found


@pytest.mark.parametrize(
    ("answers", "results", "within", "words"),
    [
        ([("aaa", "", "e"), ("aaa", "", "e")], 1, 1, "gave one gradient, though they could have"),
        ([("aaa", "why", "e"), ("aaa", "why", "e")], 1, 1, "could have given no other: why"),
        ([("aaa", "", "e"), ("aaa", "why", "e")], 1, 1, "could have given no other: why"),
        ([("aab", "", "e"), ("aca", "", "e")], 3, 2, "gave 3 different gradients, 2 of them in"),
        ([("aab", "why", "e"), ("aab", "", "e")], 2, 2, "gave 2 different gradients, 2 of them"),
        ([("aaa", "", "e"), ("bbb", "", "e")], 2, 1, "2 different gradients, in each process the"),
        # Bits of another machine are others without any race.
        ([("aaa", "", "e"), ("bbb", "", "f")], 1, 1, "gave one gradient, though they could have"),
        ([("abc", "", "e"), ("def", "", "f")], 3, 3, "gave 3 different gradients, 3 of them in"),
    ],
)
def test_results_are_counted_within_one_environment(steady, answers, results, within, words):
    found = repeated(*answers)
    assert (found.results, found.within, found.processes) == (results, within, 2)
    assert found.vary == (results > 1)
    assert words in found.in_words()
    assert found.in_words().startswith("'hidden-conv' on G, batches of 64, float32: 20 passes in")
    assert found.fits(CONFIG)
    for other in ({"batch_size": 63}, {"precision": "bfloat16"}, {"model": "linear"}):
        assert not found.fits(replace(CONFIG, lowlevel="vendor", **other))


def judged(results, rows=ROWS[:6], allow_equal=False, obstacle=""):
    plan = planned("hidden-conv", rows=rows)
    racing, messages = racing_rows(plan, plan.tasks()), []
    digests = "ab" if results > 1 else "aa"
    made = repeat_passes(racing, HERE, HERE, Answers(*[(digests, obstacle, "e")] * 2 * len(racing)))
    try:
        check_varied(racing, made, messages.append, allow_equal=allow_equal)
    except EqualRunsError as error:
        return messages, str(error)
    return messages, None


def test_kernels_that_race_are_told_of(steady):
    messages, error = judged(2)
    assert error is None
    assert len(messages) == 2
    assert all("gave 2 different gradients" in message for message in messages)


def test_rows_in_which_nothing_else_varies_are_refused_in_a_line_and_others_told_of(steady):
    messages, error = judged(1)
    assert "\n" not in error
    assert "'hidden-conv', rows 'kernels', 'later', 'nothing else': nothing varies." in error
    assert "'hidden-conv', row 'larger': nothing varies." in error
    assert "'both'" not in error
    for remedy in ("--allow-equal", "allow_equal=True", "'seeded'", "'atomic'", "another model"):
        assert remedy in error
    [told] = [message for message in messages if "adds nothing" in message]
    assert "'hidden-conv', row 'both': what differs there" in told


def test_equal_runs_are_told_apart_from_those_that_could_not_differ(steady):
    assert "though they could have differed" in judged(1)[1]
    error = judged(1, obstacle="no convolution")[1]
    assert "could have given no other: no convolution" in error
    assert "though they could have differed" not in error


def test_equal_rows_are_trained_if_allowed(steady):
    messages, error = judged(1, allow_equal=True)
    assert error is None
    assert any("gave one gradient" in message for message in messages)
    assert judged(1, rows=(Row("both", ("lowlevel", "shuffle")),))[1] is None


def test_a_process_repeats_the_passes_in_the_environment_of_the_study(steady):
    plan = planned("hidden-conv", rows=ROWS[:2])
    [item] = [repeating.Repeat(config, 0) for config in racing_rows(plan, plan.tasks())]
    found = run_repeat(None, item)
    assert len(found.found.digests) == PASSES == 20
    with pytest.raises(MixedStudyError, match="is not that in which the study began"):
        run_repeat(HERE, item)
    rows = racing_rows(plan, plan.tasks())
    with pytest.raises(MixedStudyError, match="is not that in which the study began"):
        repeat_passes(rows, HERE, HERE, FreshSerial())


def test_a_process_that_fails_ends_the_study(steady, monkeypatch):
    def fail(*arguments):
        raise RuntimeError("no memory")

    monkeypatch.setattr(repeating, "repeat_pass", fail)
    told, plan = [], planned("hidden-conv", rows=ROWS[:2])
    with pytest.raises(JobFailedError, match="no memory"):
        repeat_passes(
            racing_rows(plan, plan.tasks()),
            HERE,
            None,
            FreshSerial(),
            lambda *why: told.append(why),
        )
    [(item, error)] = told
    assert item.number == 0
    messages = []
    Retries(SimpleNamespace(message=messages.append), 2).tell(item, error)
    assert messages[0].startswith("a process that repeats a pass of 'hidden-conv' crashed and is")


def test_trainings_of_vendor_mode_alone_are_fresh(steady):
    late = Row("late", ("lowlevel", "shuffle"), {"epochs": 2}, onset=Onset(shuffle=1))
    ours = Row("ours, late", ("shuffle",), {"epochs": 2, "lowlevel": "off"}, onset=Onset(shuffle=1))
    plan = planned("hidden-conv", rows=(*ROWS, late, ours))
    calls = []

    class Watching(FreshSerial):
        def attempt(self, function, items, tries=2, retrying=None):
            calls.append(("pool", [*items]))
            return iter(())

        def attempt_fresh(self, function, items, tries=2, retrying=None):
            calls.append(("fresh", [*items]))
            return iter(())

    def started(items):
        calls.clear()
        assert list(attempt_trainings(abs, items, Watching(), 2)) == []
        return dict(calls)

    tasks = plan.tasks()
    runs = started(tasks.items())
    assert len(runs["fresh"]) + len(runs["pool"]) == len(tasks)
    assert {job.config.lowlevel for job, _ in runs["fresh"]} == {"vendor"}
    assert {job.config.lowlevel for job, _ in runs["pool"]} == {"seeded", "off"}
    prefixes = shared_prefixes(tasks)
    found = started(prefixes)
    assert [prefix.job.config.lowlevel for prefix in found["fresh"]] == ["vendor"] * 2
    assert [prefix.job.config.lowlevel for prefix in found["pool"]] == ["off"]
    assert list(started([(job, keeps) for job, keeps in runs["pool"]])) == ["pool"]
    assert started([]) == {}


def test_prefixes_of_vendor_mode_are_fresh(steady, tmp_path, monkeypatch):
    late = Row("late", ("lowlevel", "shuffle"), {"epochs": 2}, onset=Onset(shuffle=1))
    plan, calls = planned("linear", rows=(late,)), []

    class Watching(FreshSerial):
        def attempt(self, function, items, tries=2, retrying=None):
            calls.extend(("pool", type(item).__name__) for item in items)
            return super().attempt(function, items, tries, retrying)

        def attempt_fresh(self, function, items, tries=2, retrying=None):
            calls.extend(("fresh", type(item).__name__) for item in items)
            return Serial.attempt(self, function, items, tries, retrying)

    store = Store(tmp_path / "study")
    with store.opened_for(plan):
        assert run_study(plan, store, Watching, allow_equal=True) == 0
    assert [kind for kind, name in calls if name == "Prefix"] == ["fresh"] * 2
    assert [name for kind, name in calls if kind == "fresh"] == [
        *("Repeat", "Repeat", "Prefix", "Prefix", "tuple", "tuple")
    ]


def test_an_executor_without_processes_is_refused_before_anything_is_trained(
    steady, tmp_path, monkeypatch
):
    monkeypatch.setattr(loop, "train", None)
    plan = planned("hidden-conv", rows=(Row("control"),))
    store = Store(tmp_path / "study")
    with (
        store.opened_for(plan),
        pytest.raises(ExecutorError, match=r"every run, .*Serial has none\. Use --executor local"),
    ):
        run_study(plan, store, Serial)
    with pytest.raises(ExecutorError, match="Serial has no process of its own"):
        Serial().attempt_fresh(abs, [])
    assert LocalPool(1).fresh


# -- whole studies -----------------------------------------------------------------------------


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Return a function that runs the study of a model by the command line."""
    monkeypatch.chdir(tmp_path)

    def run(model, *options):
        (tmp_path / "races.toml").write_text(STUDY.format(model=model))
        return command("run", "races.toml", "--out", "study", *options)

    return run


def trainings(monkeypatch):
    """Count the trainings."""
    calls, train = [], loop.train

    def counting(*arguments, **named):
        calls.append(arguments)
        return train(*arguments, **named)

    monkeypatch.setattr(loop, "train", counting)
    return calls


def test_a_study_whose_kernels_race_says_so_and_is_trained(racing, study, tmp_path, monkeypatch):
    monkeypatch.setattr(repeating, "PASSES", 100)
    done = study("hidden-conv")
    assert done.exit_code == 0, done.output
    assert "100 passes in each of 2 processes gave" in done.stderr
    store = Store(tmp_path / "study")
    [found] = read_repetitions(store.root)
    assert found.vary
    assert found.results >= found.within > 1
    assert (found.passes, found.processes, found.obstacle) == (100, 2, "")
    assert f"{found.in_words()}." in notes(summarize(store.plan(), store))
    assert "different gradients" in (tmp_path / "study" / "report.md").read_text()
    assert not any("did not differ" in note for note in notes(summarize(store.plan(), store)))
    # Nothing is missing, so nothing is repeated.
    assert study("hidden-conv").exit_code == 0
    assert len(read_repetitions(store.root)) == 1


def test_a_study_with_equal_runs_is_refused_before_anything_is_trained(
    steady, study, tmp_path, monkeypatch
):
    calls = trainings(monkeypatch)
    done = study("hidden-conv")
    assert done.exit_code == 2
    assert calls == []
    [error] = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "row 'kernels': nothing varies" in error
    assert "though they could have differed" in error
    assert "row 'kernels and order': what differs there comes from the other" in done.stderr
    assert list((tmp_path / "study" / "runs").iterdir()) == []
    [found] = read_repetitions(tmp_path / "study")
    assert (found.results, found.obstacle) == (1, "")


def test_equal_runs_are_trained_if_allowed_and_the_report_says_so(steady, study, tmp_path):
    done = study("linear", "--allow-equal")
    assert done.exit_code == 0, done.output
    store = Store(tmp_path / "study")
    [found] = read_repetitions(store.root)
    assert found.obstacle == "the model has no convolution, which cuDNN would compute"
    lines = notes(summarize(store.plan(), store))
    assert f"{found.in_words()}." in lines
    assert any(
        line.startswith("linear, 'kernels' and 'kernels and order': repeated passes did not")
        for line in lines
    )


def test_every_shard_adds_its_repetitions(steady, study, tmp_path):
    for index in (1, 2):
        assert study("hidden-conv", "--shard", f"{index}/2", "--allow-equal").exit_code == 0
    assert len(read_repetitions(tmp_path / "study")) == 2


def test_a_study_in_which_nothing_races_repeats_nothing(steady, study, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "add_repetitions", None)
    done = study("linear", "--set", "lowlevel=seeded", "--executor", "serial")
    assert done.exit_code == 0, done.output
    assert read_repetitions(tmp_path / "study") == []
    assert "gradient" not in done.stderr


def test_a_row_of_held_kernels_repeats_nothing(steady, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "add_repetitions", None)
    plan = planned("linear", rows=(Row("control"), Row("shuffling", ("shuffle",))))
    store = Store(tmp_path / "study")
    with store.opened_for(plan):
        assert run_study(plan, store, FreshSerial) == 0


@pytest.mark.slow
def test_every_run_of_the_command_has_a_process_of_its_own(tmp_path):
    """The control and the repeated passes have others; of held trainings several share one."""
    rows = STUDY.format(model="hidden-conv").partition('[[row]]\nname = "kernels and order"')[0]
    (tmp_path / "races.toml").write_text(rows)
    done = subprocess.run(
        [
            *(sys.executable, vendor_stand_in.__file__, "run", "races.toml", "--out", "study"),
            *("--workers", "1"),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "LOG": str(tmp_path / "log")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "20 passes in each of 2 processes gave" in done.stderr
    lines = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    control = [process for kind, _, process in lines if kind == "control"]
    runs = [process for kind, _, process in lines if kind == "run"]
    assert sorted(seed for kind, seed, _ in lines if kind == "run") == ["1", "1", "2", "3"]
    assert (len(control), len(set(control))) == (2, 1)
    assert len(set(runs) | set(control)) == len(runs) + 1


def test_the_stand_in_is_gone_without_its_fixture():
    with pytest.raises(ValueError, match="which cuDNN offers on cuda alone"):
        planned("linear")
    assert torch.backends.cudnn.is_available.__name__ == "is_available"
