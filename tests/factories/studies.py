"""Small studies in folders, finished and unfinished, with files of every kind."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

import nondet
from factories.results import LABELS, made_result, made_twin
from nondet.cli.inspect import show_report
from nondet.data import load_dataset
from nondet.execute.jobs import environment_of, train_prefix
from nondet.execute.prefixes import shared_prefixes
from nondet.report.render.terminal import make_console
from nondet.store import Failure, Store
from nondet.studies.catalog import find_study
from nondet.studies.row import Row
from nondet.studies.seeds import Onset
from nondet.studies.study import Plan

RECORDS = {
    "taps": {"00.fc": np.arange(6, dtype=np.float32).reshape(2, 3)},
    "tta": {"final/flip": np.zeros((12, 3), np.float32)},
    "twin": made_twin(),
    "weights": {"fc.weight": np.ones((2, 2), np.float32)},
}
DIVERGED = Failure("the training loss is nan", 1, 21)
CRASHED = Failure("killed by signal 9", 0, 0, crashed=True)


def made_study(folder: Path) -> Store:
    """Make a study of made results: with all records, records made later, a run that diverged, one
    that crashed, snapshots, labels and a report.
    """
    plan = find_study("quick").plan(
        models=("linear",), runs=2, epochs=2, settings={"warmup_epochs": 0}
    )
    plan = plan.with_data({"digits": "d1" * 32})
    store, environment = Store(folder), environment_of(("cpu", 1))
    with store.opened_for(plan):
        store.set_data(plan.data)
        store.save_labels("digits", LABELS, ["made up"], plan.data["digits"])
        for number, job in enumerate(plan.tasks()):
            if number == 3:
                store.save_failure(job, DIVERGED, made_result().history, environment)
            elif number == 4:
                store.save_failure(job, CRASHED, [], environment)
                store.save_failure(job, CRASHED, [], environment)
            else:
                records = RECORDS if number == 5 else {}
                store.save(job, made_result(number, records, 2), environment, seconds=1.0)
            if number == 6:
                store.save(job, made_result(number, RECORDS, 2), environment, seconds=1.0)
    show_report(store, make_console(stderr=True))
    return store


def onset_plan(runs: int = 3) -> Plan:
    """Return a plan on the digits with rows that share a prefix."""
    rows = (
        Row("control", runs=2),
        Row("shuffling", ("shuffle",)),
        Row("shuffling, late", ("shuffle",), onset=Onset(shuffle=1)),
        Row("one bit, late", ("bit",), onset=Onset(bit=1)),
    )
    return replace(
        find_study("quick").plan(
            models=("linear",), runs=runs, epochs=2, settings={"warmup_epochs": 0}
        ),
        rows=rows,
    )


def trained_study(folder: Path) -> Store:
    """Train a study whose rows share a prefix, and report it."""
    plan, store = onset_plan(), Store(folder)
    with store.opened_for(plan):
        assert nondet.run_study(plan, store) == 0
    show_report(store, make_console(stderr=True))
    return store


def language_plan(text: Path) -> Plan:
    """Return a plan of language models on a text of a few hundred words, which it writes."""
    text.mkdir(parents=True, exist_ok=True)
    for part, count in (("train", 60), ("valid", 8), ("test", 9)):
        lines = (f"word{i % 7} is word{i % 5} of {i % 3}" for i in range(count))
        (text / f"{part}.txt").write_text("\n".join(lines) + "\n")
    rows = (Row("initialization", ("init",)), Row("both", ("init", "stochastic")))
    settings = {"embedding": 8, "hidden": 8, "layers": 1, "bptt": 5}
    plan = find_study("table2").plan(
        dataset=f"text:{text}",
        runs=2,
        epochs=1,
        settings={"batch_size": 4} | {f"language.{k}": v for k, v in settings.items()},
    )
    return replace(plan, rows=rows)


def language_study(folder: Path, text: Path) -> Store:
    """Train a study of language models and report it, with measures of pairs."""
    plan, store = language_plan(text), Store(folder)
    with store.opened_for(plan):
        assert nondet.run_study(plan, store) == 0
    show_report(store, make_console(stderr=True))
    return store


class Stop(BaseException):
    """Raised in place of a kill."""


def unfinished_study(folder: Path) -> Store:
    """Begin a study: with a prefix, a finished run, a checkpoint of another, and no report."""
    plan = onset_plan()
    data = load_dataset("digits")
    plan = plan.with_data({"digits": data.sha256})
    store, here = Store(folder), {("cpu", 1): environment_of(("cpu", 1))}
    first, second, *_ = plan.tasks()
    with store.opened_for(plan):
        store.set_data(plan.data)
        store.save_labels("digits", data.test_labels.numpy(), (), data.sha256)
        for prefix in shared_prefixes(plan.tasks()):
            train_prefix(store, here, prefix)
        result = nondet.train(first.config, first.seeds, data)
        store.save(first, result, here["cpu", 1], 1.0)
        checkpoints = nondet.Checkpoints(store.checkpoints / second.address, every_steps=4)
        with suppress(Stop):
            nondet.train(
                second.config, second.seeds, data, checkpoints=checkpoints, observe=_stop_at(10)
            )
    return store


def _stop_at(step: int):
    def observe(training):
        if training.step == step:
            raise Stop

    return observe
