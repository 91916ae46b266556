import pytest

from nondet.studies.catalog import find_study
from nondet.studies.study import Plan


@pytest.fixture
def plan() -> Plan:
    """A plan with runs of the fixture `config`, 20 of every row."""
    return find_study("quick").plan(models=("linear",), runs=20, epochs=2)
