import json
from dataclasses import asdict, fields

import numpy as np
import pytest

from nondet.lowlevel import convert
from nondet.plain import plain
from nondet.studies.config import RunConfig
from nondet.studies.row import Row
from nondet.studies.seeds import SOURCES, Onset, Seeds

INTEGERS = [getattr(np, f"{sign}int{width}") for sign in ("", "u") for width in (8, 16, 32, 64)]


@pytest.mark.parametrize("kind", INTEGERS)
def test_seeds_and_onsets(kind):
    for made in (
        *(Seeds(**{name: kind(7)}) for name in SOURCES),
        *(Onset(**{each.name: kind(7)}) for each in fields(Onset)),
    ):
        assert 7 in json.loads(json.dumps(asdict(made))).values()


@pytest.mark.parametrize("kind", INTEGERS)
def test_settings(kind):
    numbers = {"epochs": 9, "batch_size": 8, "chunks": 4, "threads": 2, "milestones": (2, 5)}
    given = {name: kind(value) for name, value in numbers.items() if name != "milestones"}
    given["milestones"] = tuple(map(kind, numbers["milestones"]))
    given |= {"lr": np.float32(0.5), "flip": np.True_}
    config = RunConfig("digits", "linear", **given)
    assert config == RunConfig("digits", "linear", lr=0.5, flip=True, **numbers)
    assert RunConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
    row = Row("a", varies=("init",), runs=kind(3), settings={"epochs": kind(4)})
    assert (type(row.runs), type(row.settings["epochs"])) == (int, int)


@pytest.mark.parametrize("value", [True, np.True_, 7.0, np.float64(7)])
def test_what_is_no_integer(value):
    for make in (
        lambda: Seeds(init=value),
        lambda: Onset(bit=value),
        lambda: convert(None, chunks=value),
    ):
        with pytest.raises(TypeError, match="must be an integer"):
            make()


def test_everything_else_stays():
    for value in (None, "7", [np.int64(7)], np.ones(2)):
        assert plain(value) is value
