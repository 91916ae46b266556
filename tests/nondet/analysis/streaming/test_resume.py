"""Test that an interrupted computation of measures resumes and leaves no files behind."""

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
    """An error that the code under test never raises."""


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
    """Interrupt a computation at this step of its progress; return its sources."""
    left = [steps]

    def progress(done: int, total: int, what: str) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise PlannedError

    sources = models.sources()
    with pytest.raises(PlannedError):
        compute(models, scratch, sources, progress=progress, **options)
    assert not list(scratch.rglob("model*.tmp"))  # no unfinished file
    return sources


def calls(sources: list[MadeSource]) -> list[int]:
    return [source.calls for source in sources]


class Told(list[tuple[int, int, str]]):
    """A progress callback that records its steps."""

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


def test_finished_parts_are_not_repeated(models, expected, tmp_path):
    """A computation interrupted at the first step of any part repeats no finished part."""
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


def test_repeated_interruptions_lose_no_finished_tile(models, expected, tmp_path):
    """A computation in tiles that is interrupted three times ends with the same result, and
    computes no more models than needed.
    """
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


def test_lost_files_are_computed_again(models, expected, tmp_path):
    """Lost logits of models of a finished tile are computed again, and progress does not go
    back.
    """
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


def test_the_plan_is_kept(models, expected, tmp_path):
    """A resumed computation keeps its tiles, although its own files leave less disk free."""
    interrupted(models, tmp_path, 30)
    found = compute(models, tmp_path, models.sources(), disk=models.disk(2))
    same(found, expected)
    assert found.plan == expected.plan


def test_ranks_are_reused(models, tmp_path, monkeypatch):
    """A resumed computation reuses the ranks of the interrupted one unless a model was written
    again.
    """
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


def test_unfinished_files_are_removed(models, expected, tmp_path):
    """The unfinished file of a killed process is removed."""
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


def test_an_existing_folder_is_kept(models, tmp_path):
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
def test_unfinished_work_of_another_call_is_refused(models, expected, tmp_path, options, what):
    interrupted(models, tmp_path, 8, keys=list("abcd"))
    before = sorted((tmp_path / "streaming").iterdir())
    with pytest.raises(ValueError, match=f"scratch .* unfinished work .* had other {what}\\."):
        compute(models, tmp_path, models.sources(), **{"keys": list("abcd"), **options})
    assert sorted((tmp_path / "streaming").iterdir()) == before
    sources = models.sources()
    same(compute(models, tmp_path, sources, keys=list("abcd")), expected)
    assert calls(sources)[0] == 0


def test_unfinished_work_of_other_models_is_refused(models, tmp_path):
    """Unfinished work of other models is refused even if no keys are given, because the predictions
    differ.
    """
    interrupted(models, tmp_path, 8)
    other = Models(4, 1500, 11, seed=2, widths=(3,))
    with pytest.raises(ValueError, match="other labels, log_probabilities, predicted"):
        compute(other, tmp_path, other.sources())
    other = Models(4, 1500, 11, seed=1, widths=(3, 2))
    with pytest.raises(ValueError, match="scratch"):
        compute(models, tmp_path, other.sources())


def test_a_second_process_is_refused(models, tmp_path):
    interrupted(models, tmp_path, 8)
    with (tmp_path / "streaming" / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(OSError, match=r"scratch .* in use by another process"):
            compute(models, tmp_path, models.sources())
    compute(models, tmp_path, models.sources())


@pytest.mark.parametrize("what", ["logits", "hidden"])
def test_models_that_change_are_refused(models, tmp_path, what):
    """A model whose logits or hidden states differ in another tile raises an error."""

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


def test_a_killed_computation_resumes(expected, tmp_path):
    """A computation resumes after SIGKILL in the middle of a file or of the ranks."""
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
