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
    """320 digits to train with and 40 to test with."""
    return replace(
        digits,
        train_images=digits.train_images[:320],
        train_labels=digits.train_labels[:320],
        test_images=digits.test_images[:40],
        test_labels=digits.test_labels[:40],
    )


@pytest.fixture
def config() -> RunConfig:
    """The linear model for two epochs: a few hundredths of a second."""
    return find_study("quick").plan(models=("linear",), epochs=2).configs[0]


@pytest.fixture
def plan() -> Plan:
    """Two models, eight or nine rows of two runs, one epoch."""
    return find_study("quick").plan(runs=2, epochs=1)


@pytest.fixture
def reports(monkeypatch):
    """Writing the report is not what most of these tests are about, and takes longer than all else:
    it is only counted.
    """
    shown = []
    monkeypatch.setattr("nondet.cli.run.show_report", lambda plan, store, console: shown.append(1))
    return shown
