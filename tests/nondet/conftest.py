from dataclasses import replace

import pytest

from nondet.data import Dataset, load_dataset
from nondet.studies.catalog import find_study
from nondet.studies.config import RunConfig
from nondet.studies.study import Plan


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return load_dataset("digits")


@pytest.fixture(scope="session")
def few_digits(digits: Dataset) -> Dataset:
    """The first 320 training digits and 40 test digits."""
    return replace(
        digits,
        train_images=digits.train_images[:320],
        train_labels=digits.train_labels[:320],
        test_images=digits.test_images[:40],
        test_labels=digits.test_labels[:40],
    )


@pytest.fixture
def config() -> RunConfig:
    """The linear model, trained for two epochs of 21 steps in a few hundredths of a second."""
    [usual] = find_study("quick").plan(models=("linear",)).configs
    return replace(usual, epochs=2, batch_size=64)


@pytest.fixture
def plan() -> Plan:
    """A plan of two models and eight or nine rows of two runs, each of one epoch of 21 steps."""
    usual = find_study("quick").plan(runs=2, settings={"batch_size": 64})
    return replace(usual, configs=tuple(replace(config, epochs=1) for config in usual.configs))


@pytest.fixture
def reports(monkeypatch):
    """Count reports instead of writing them, which would take longer than the rest of a test."""
    calls = []
    monkeypatch.setattr("nondet.cli.run.show_report", lambda store, console: calls.append(1))
    return calls
