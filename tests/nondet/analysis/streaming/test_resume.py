"""An interrupted computation of measures goes on where it stopped, and leaves nothing behind."""

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import nondet_ext
from factories.sources import MadeSource, Models, same
from nondet.analysis.streaming import Measures, measure
from nondet.files import unfinished


class PlannedError(Exception):
    """Not one of the code under test."""


@pytest.fixture(scope="module")
def models() -> Models:
    return Models(4, 1500, 11, seed=1, widths=(3,))


@pytest.fixture(scope="module")
def expected(models, tmp_path_factory) -> Measures:
    return models.measure(tmp_path_factory.mktemp("expected"), ensemble="logits")


TESTS = Path(__file__).resolve().parents[3]


def compute(models: Models, scratch: Path, sources: list[MadeSource], **options) -> Measures:
    return measure(
        sources,
        models.labels,
        models.log_probabilities,
        models.predicted,
        **{"ensemble": "logits", "scratch": scratch, **options},
    )


def interrupted(models: Models, scratch: Path, steps: int, **options) -> list[MadeSource]:
    """The sources of a call that ended at this step of its progress."""
    left = [steps]

    def progress(done: int, total: int, what: str) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise PlannedError

    sources = models.sources()
    with pytest.raises(PlannedError):
        compute(models, scratch, sources, progress=progress, **options)
    assert not list(scratch.rglob("model*.tmp"))  # no half of a file
    return sources


def calls(sources: list[MadeSource]) -> list[int]:
    return [source.calls for source in sources]


class Told(list[tuple[int, int, str]]):
    """The steps of a progress."""

    def __call__(self, *step) -> None:
        self.append(step)

    def parts(self) -> list[str]:
        return list(dict.fromkeys(what.split(":")[0] for _, _, what in self))


def steps_of(models: Models, scratch: Path, **options) -> list[str]:
    told = Told()
    compute(models, scratch, models.sources(), progress=told, **options)
    assert [step[0] for step in told] == sorted(step[0] for step in told)
    assert {step[1] for step in told} == {told[-1][0]}
    return [step[2].split(":")[0] for step in told]


def test_stops_anywhere(models, expected, tmp_path):
    """At the first step of every part: what was finished is not computed again."""
    scratch = tmp_path / "a" / "b"
    steps = steps_of(models, scratch)
    assert not (tmp_path / "a").exists()
    parts = [*(f"logits of model {i + 1} of 4" for i in range(4)), "correlation", "ensemble"]
    assert list(dict.fromkeys(steps)) == [*parts, "cka.layer3"]
    for finished, what in enumerate([*parts, "cka.layer3"]):
        interrupted(models, scratch, steps.index(what))
        sources, told = models.sources(), Told()
        same(compute(models, scratch, sources, progress=told), expected)
        assert told.parts() == [*parts, "cka.layer3"][finished:]
        assert told[-1][0] == told[-1][1]
        assert calls(sources) == [int(i >= finished) for i in range(4)]
        assert not (tmp_path / "a").exists()


def test_stops_again_and_again(models, expected, tmp_path):
    """In tiles, a few steps further each time, to the end: nothing more is computed than needed."""
    options = {"disk": models.disk(3)}
    total = [0] * 4
    steps = len(steps_of(models, tmp_path, **options)) // 4
    for _ in range(3):
        total = [
            a + b
            for a, b in zip(
                total, calls(interrupted(models, tmp_path, steps, **options)), strict=True
            )
        ]
    sources, told = models.sources(), Told()
    found = compute(models, tmp_path, sources, progress=told, **options)
    assert told[-1][0] == told[-1][1]
    assert told[0][0] > told[0][1] / 3  # a tile was finished
    same(found, expected, cka=1e-6)
    assert found.plan.startswith("3 of 4 models at once")
    assert sum(total) + sum(calls(sources)) <= 5 + 3
    assert list(tmp_path.iterdir()) == []


def test_lost_files(models, expected, tmp_path):
    """Models that a tile shares with a finished one are computed again, and not counted again."""
    options = {"disk": models.disk(3)}
    steps = len(steps_of(models, tmp_path, **options))
    interrupted(models, tmp_path, 3 * steps // 4, **options)
    for path in tmp_path.rglob("model*.logits.npy"):
        path.unlink()
    told = Told()
    same(compute(models, tmp_path, models.sources(), progress=told, **options), expected, cka=1e-6)
    done = [step[0] for step in told]
    assert done == sorted(done)
    assert done[-1] == told[-1][1]


def test_the_plan_stays(models, expected, tmp_path):
    """Less disk is free when half of it is in use already: the tiles are those of the beginning."""
    interrupted(models, tmp_path, 30)
    found = compute(models, tmp_path, models.sources(), disk=models.disk(2))
    same(found, expected)
    assert found.plan == expected.plan


def test_correlation_goes_on(models, tmp_path, monkeypatch):
    """Ranks of an interrupted call serve the next, unless a model was written anew."""
    step = steps_of(models, tmp_path).index("correlation") + 6
    ranks = tmp_path / "streaming" / "spearman"
    given: list[bool] = []
    real = nondet_ext.spearman_files

    def correlate(*arguments, **options):
        given.append((ranks / "spearman_files.json").exists())
        return real(*arguments, **options)

    monkeypatch.setattr(nondet_ext, "spearman_files", correlate)
    interrupted(models, tmp_path, step)
    compute(models, tmp_path, models.sources())
    interrupted(models, tmp_path, step)
    (tmp_path / "streaming" / "model00002.logits.npy").unlink()
    compute(models, tmp_path, models.sources())
    assert given == [False, True, False, False]


@pytest.mark.parametrize("damage", ["cut", "bit", "record", "hidden"])
def test_damaged_files_are_written_again(models, expected, tmp_path, damage):
    interrupted(models, tmp_path, 20)
    folder = tmp_path / "streaming"
    name = {"record": "model00001.json", "hidden": "model00001.tap00.npy"}
    path = folder / name.get(damage, "model00001.logits.npy")
    data = bytearray(path.read_bytes())
    data[-40] ^= 1
    if damage == "record":
        path.unlink()
    else:
        path.write_bytes(data[:-1] if damage == "cut" else data)
    sources = models.sources()
    same(compute(models, tmp_path, sources), expected)
    assert calls(sources)[:2] == [0, 1]


def test_leftovers(models, expected, tmp_path):
    """A killed process leaves a file half written."""
    interrupted(models, tmp_path, 8)
    ended = subprocess.Popen(["true"])
    ended.wait()
    left = unfinished(tmp_path / "streaming" / "model00003.logits.npy")
    left = left.with_name(left.name.replace(f"-{os.getpid()}-", f"-{ended.pid}-"))
    left.write_bytes(b"half")
    seen = []

    def progress(*_: object) -> None:
        seen.append(left.exists())

    same(compute(models, tmp_path, models.sources(), progress=progress), expected)
    assert not any(seen)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_there_stays(models, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    interrupted(models, tmp_path, 5)
    compute(models, tmp_path, models.sources())
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"keys": list("abcx")}, "keys"),
        ({"keys": None}, "keys"),
        ({"ensemble": "probabilities"}, "ensemble"),
    ],
)
def test_unfinished_work_of_another_call(models, expected, tmp_path, options, what):
    interrupted(models, tmp_path, 8, keys=list("abcd"))
    before = sorted((tmp_path / "streaming").iterdir())
    with pytest.raises(ValueError, match=f"scratch .* unfinished work .* had other {what}\\."):
        compute(models, tmp_path, models.sources(), **{"keys": list("abcd"), **options})
    assert sorted((tmp_path / "streaming").iterdir()) == before
    sources = models.sources()
    same(compute(models, tmp_path, sources, keys=list("abcd")), expected)
    assert calls(sources)[0] == 0


def test_other_models(models, tmp_path):
    """Without keys, what is known of the tokens tells models apart."""
    interrupted(models, tmp_path, 8)
    other = Models(4, 1500, 11, seed=2, widths=(3,))
    with pytest.raises(ValueError, match="other labels, log_probabilities, predicted"):
        compute(other, tmp_path, other.sources())
    other = Models(4, 1500, 11, seed=1, widths=(3, 2))
    with pytest.raises(ValueError, match="scratch"):
        compute(models, tmp_path, other.sources())


def test_one_process_at_a_time(models, tmp_path):
    interrupted(models, tmp_path, 8)
    with (tmp_path / "streaming" / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(OSError, match=r"scratch .* in use by another process"):
            compute(models, tmp_path, models.sources())
    compute(models, tmp_path, models.sources())


@pytest.mark.parametrize("what", ["logits", "hidden"])
def test_models_that_change(models, tmp_path, what):
    """A model that is computed again for another tile must be the same."""

    class Changing(MadeSource):
        def blocks(self):
            if self.calls and what == "logits":
                self.logits = self.logits + np.float32(1e-6) * (self.logits == 0)
            return super().blocks()

        def hidden(self):
            for found in super().hidden():
                yield {tap: x + (what == "hidden" and self.calls > 1) for tap, x in found.items()}

    sources = models.sources()
    for i, source in enumerate(sources):
        sources[i] = Changing(source.logits, source._hidden)
    words = "logits" if what == "logits" else "hidden states 'layer3'"
    with pytest.raises(ValueError, match=rf"sources\[\d\] must give the same bits .* {words}"):
        compute(models, tmp_path, sources, disk=models.disk(2))


def test_killed(expected, tmp_path):
    """By a signal that nobody can catch, in the middle of a file and of the ranks."""
    program = f"""
import os, runpy, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
sys.path.insert(0, {str(TESTS)!r})
own = runpy.run_path({__file__!r})
models = own["Models"](4, 1500, 11, seed=1, widths=(3,))
for step in (4, 7, 6):
    child = os.fork()
    if not child:
        left = [step]
        def progress(*_):
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        own["compute"](models, Path({str(tmp_path)!r}), models.sources(), progress=progress)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
"""
    subprocess.run([sys.executable, "-c", program], check=True)
    models = Models(4, 1500, 11, seed=1, widths=(3,))
    assert json.loads((tmp_path / "streaming" / "state.json").read_text())["ensemble"] == "logits"
    sources = models.sources()
    same(compute(models, tmp_path, sources), expected)
    assert calls(sources)[0] == 0
    assert list(tmp_path.iterdir()) == []
