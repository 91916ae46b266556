import pytest

from nondet.config import RunConfig
from nondet.data import Dataset, load_dataset
from nondet.studies import find_study
from nondet.study import Plan


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return load_dataset("digits")


@pytest.fixture
def config() -> RunConfig:
    """The linear model for two epochs: a few hundredths of a second."""
    return find_study("quick").plan(models=("linear",), epochs=2).configs[0]


@pytest.fixture
def plan() -> Plan:
    """Two models, eight or nine rows of two runs, one epoch."""
    return find_study("quick").plan(runs=2, epochs=1)
