"""Read logs of inspect_ai: .json, and .eval, a ZIP archive of JSON.

Each epoch of a log is a run: the model answers every sample anew in each. Logs of several files
are further runs. Versions of the log 1 and 2 were looked at.
"""

import math
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nondet.analysis.comparison.scores import Examples, ScoredRun, check_size
from nondet.analysis.score_files.files import (
    as_number,
    decode,
    parse_object,
    parse_value,
    read_bytes,
)
from nondet.analysis.score_files.making import Source, choose, make_scores, run_of_examples
from nondet.analysis.score_files.options import ReadOptions

_LETTERS = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}
_WORDS = {"yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
_LARGEST = 1 << 30
"""The most bytes of a file in an archive that are unpacked."""
_ZSTANDARD = 93
_HEADERS = ("header.json", "_journal/start.json", "start.json")
"""Where an archive says what it is of: a finished log, one that is not, and early versions."""


@dataclass(frozen=True)
class _Log:
    """A log. status: "success" or why it is not whole."""

    path: Path
    task: str
    status: str
    samples: Sequence[Mapping[str, Any]]


def is_log(value: object) -> bool:
    """Return whether a JSON value is a log."""
    return isinstance(value, dict) and "eval" in value and "status" in value


def is_archive(names: Sequence[str]) -> bool:
    """Return whether an archive with these files is a log."""
    return any(
        name in _HEADERS or (name.startswith("samples/") and name.endswith(".json"))
        for name in names
    )


def inspect_source(paths: Sequence[Path], name: str, options: ReadOptions) -> Source:
    """Return the scores in logs: an epoch is a run, and a log of another task of the same runs
    adds its task to the run with the same number.

    A score is named as its scorer, or "scorer/key" if it has several values. Letters count as in
    inspect_ai: C 1, P 0.5, I and N 0. Samples that stopped with an error have no score.

    Raises ValueError, with file and sample, for what inspect_ai does not write.
    """
    logs = [_read(path) for path in sorted(paths)]
    reader = _Reader(options)
    runs: list[ScoredRun] = []
    for log in logs:
        runs += reader.runs(log)
    score = " / ".join(dict.fromkeys(reader.scores.values())) or "score"
    scores = make_scores(name, _joined(runs), score, options, notes=reader.notes)
    return Source(scores)


class _Reader:
    """Reads logs and remembers which score was taken for each task."""

    def __init__(self, options: ReadOptions) -> None:
        self.options = options
        self.scores: dict[str, str] = {}
        self.notes: list[str] = []

    def runs(self, log: _Log) -> list[ScoredRun]:
        """Return a run for each epoch of a log."""
        failure = None if log.status == "success" else f"the log ends with status {log.status!r}"
        if not log.samples:
            return [ScoredRun(log.path.name, {log.task: math.nan}, failure=failure)]
        values = [_values(sample, self._where(log, sample)) for sample in log.samples]
        names = list(dict.fromkeys(name for each in values for name in each))
        if not names:
            reason = failure or "no sample has a score"
            return [ScoredRun(log.path.name, {log.task: math.nan}, failure=reason)]
        wanted = self.options.score or self.scores.get(log.task)
        score = choose("score", wanted, names, str(log.path))
        self.scores[log.task] = score
        epochs: dict[int, dict[str, tuple[float, str | None]]] = {}
        for sample, found in zip(log.samples, values, strict=True):
            where = self._where(log, sample)
            epoch, identity = _identity(sample, where)
            samples = epochs.setdefault(epoch, {})
            if identity in samples:
                raise ValueError(f"{where}: a second sample of this id in epoch {epoch}")
            samples[identity] = (found.get(score, math.nan), self._cluster(sample, where))
        return [self._run(log, epoch, epochs[epoch], failure) for epoch in sorted(epochs)]

    def _run(
        self,
        log: _Log,
        epoch: int,
        samples: Mapping[str, tuple[float, str | None]],
        failure: str | None,
    ) -> ScoredRun:
        scores = np.array([score for score, _ in samples.values()], dtype=np.float64)
        missing = int(np.isnan(scores).sum())
        label = f"{log.path.name}, epoch {epoch}"
        if missing:
            self.notes.append(f"{label}: {missing} of {len(scores)} samples have no score.")
        groups = [group for _, group in samples.values()]
        clusters = None if groups[0] is None else np.array(groups)
        examples = Examples(np.array(list(samples)), scores, clusters)
        return run_of_examples(label, {log.task: examples}, failure=failure)

    def _cluster(self, sample: Mapping[str, Any], where: str) -> str | None:
        name = self.options.columns.get("cluster")
        if name is None:
            return None
        metadata = sample.get("metadata")
        found = metadata.get(name) if isinstance(metadata, dict) else None
        if not isinstance(found, str | int):
            raise ValueError(f"{where}: its metadata has no field {name!r}")
        return str(found)

    def _where(self, log: _Log, sample: Mapping[str, Any]) -> str:
        return f"{log.path}, sample {sample.get('id')!r}"


def _joined(runs: Sequence[ScoredRun]) -> list[ScoredRun]:
    """Return the runs, those of one number on different tasks as one."""
    joined: dict[int, ScoredRun] = {}
    counts: dict[str, int] = {}
    for run in runs:
        (task,) = run.values
        number = counts[task] = counts.get(task, -1) + 1
        first = joined.get(number)
        joined[number] = (
            run
            if first is None
            else ScoredRun(
                f"{first.label} and {run.label}",
                {**first.values, **run.values},
                first.keys,
                {**first.examples, **run.examples},
                first.failure or run.failure,
            )
        )
    return list(joined.values())


# -- files -------------------------------------------------------------------------------------


def _read(path: Path) -> _Log:
    if read_bytes(path, 2) == b"PK":
        return _read_archive(path)
    log = parse_object(decode(read_bytes(path), path), str(path))
    if not is_log(log):
        raise ValueError(f"{path}: no log of inspect_ai: it lacks eval or status")
    return _log(path, log, log.get("samples"))


def _read_archive(path: Path) -> _Log:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            header = next((name for name in _HEADERS if name in names), None)
            if header is None:
                raise ValueError(f"{path}: no log of inspect_ai: it has no header.json")
            record = parse_object(_unpack(archive, header, path), f"{path}, {header}")
            if "status" not in record:  # the log was not finished, or is of an early version
                status = {"status": "started"}
                if "results.json" in names:
                    where = f"{path}, results.json"
                    status = parse_object(_unpack(archive, "results.json", path), where)
                record = {**record, "status": status.get("status")}
            return _log(path, record, list(_archived(archive, names, path)))
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError) as error:
        raise ValueError(f"{path}: a damaged archive: {error}") from None


def _archived(archive: zipfile.ZipFile, names: Sequence[str], path: Path) -> Iterator[Any]:
    """Yield the samples of an archive; of their summaries, without transcripts, if it has them."""
    if "summaries.json" in names:
        where = f"{path}, summaries.json"
        found = parse_value(_unpack(archive, "summaries.json", path), where)
        if not isinstance(found, list):
            raise ValueError(f"{where}: not a JSON list")
        yield from found
        return
    for name in names:
        if name.startswith("samples/") and name.endswith(".json"):
            yield parse_value(_unpack(archive, name, path), f"{path}, {name}")


def _unpack(archive: zipfile.ZipFile, name: str, path: Path) -> bytes:
    entry = archive.getinfo(name)
    if entry.compress_type == _ZSTANDARD:
        raise ValueError(
            f"{path}, {name}: compressed with Zstandard, which is not read; `inspect log dump "
            f"{path.name} > {path.stem}.json` writes a log that is"
        )
    try:
        with archive.open(entry) as file:
            data = file.read(_LARGEST + 1)
    except (NotImplementedError, RuntimeError) as error:
        raise ValueError(f"{path}, {name}: {error}") from None
    if len(data) > _LARGEST:
        raise ValueError(f"{path}, {name}: more than {_LARGEST:,} bytes")
    return data


def _log(path: Path, record: Mapping[str, Any], samples: object) -> _Log:
    """Return a log, whose parts are checked."""
    evaluation = record.get("eval")
    task = evaluation.get("task") if isinstance(evaluation, dict) else None
    if not isinstance(task, str):
        raise ValueError(f"{path}: eval.task is missing")
    if samples is None:
        raise ValueError(f"{path}: the log has no samples; `inspect eval --log-samples` keeps them")
    if not isinstance(samples, list) or not all(isinstance(each, dict) for each in samples):
        raise ValueError(f"{path}: samples are not a list of objects")
    return _Log(path, task, str(record.get("status")), samples)


# -- samples -----------------------------------------------------------------------------------


def _identity(sample: Mapping[str, Any], where: str) -> tuple[int, str]:
    """Return the epoch, 1 by default, and the id of a sample."""
    epoch, identity = sample.get("epoch", 1), sample.get("id")
    if type(epoch) is not int or isinstance(identity, bool) or not isinstance(identity, int | str):
        raise ValueError(f"{where}: it needs an id and an epoch; epoch is {epoch!r}")
    return epoch, str(identity)


def _values(sample: Mapping[str, Any], where: str) -> dict[str, float]:
    """Return the scores of a sample by name: "scorer", or "scorer/key"; none if it has none."""
    scores = sample.get("scores")
    if scores is None and sample.get("score") is not None:  # version 1
        scores = {"score": sample["score"]}
    if scores is None:
        return {}
    if not isinstance(scores, dict):
        raise ValueError(f"{where}: scores are not an object")
    values = {}
    for scorer, score in scores.items():
        value = score.get("value") if isinstance(score, dict) else None
        parts = value.items() if isinstance(value, dict) else [(None, value)]
        for key, part in parts:
            number = _number(part, where)
            if number is not None:
                check_size(number, where)
                values[scorer if key is None else f"{scorer}/{key}"] = number
    return values


def _number(value: object, where: str) -> float | None:
    """Return what a value counts; None for lists, other words and nothing."""
    if not isinstance(value, str):
        return as_number(value)
    if value in _LETTERS:
        return _LETTERS[value]
    if value.lower() in _WORDS:
        return _WORDS[value.lower()]
    try:
        number = float(value)
    except ValueError:
        return None
    if math.isinf(number) and "inf" not in value.lower():
        raise ValueError(f"{where}: the score {value[:40]!r} is beyond float64")
    return number if math.isfinite(number) else None
