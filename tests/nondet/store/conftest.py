from dataclasses import replace

import pytest

from nondet.studies.catalog import find_study
from nondet.studies.config import RunConfig
from nondet.studies.study import Plan


@pytest.fixture
def plan(config: RunConfig) -> Plan:
    """A plan with runs of the fixture `config`, 20 of every row."""
    return replace(find_study("quick").plan(models=("linear",), runs=20), configs=(config,))
