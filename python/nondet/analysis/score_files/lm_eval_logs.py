"""Read what lm-evaluation-harness writes: with --log_samples a file
`samples_<task>_<date>.jsonl` with a JSON object for each document (a JSON list in version 0.4.0),
and `results_<date>.json`.

Files of one folder and date are a run. Versions 0.4 to 0.4.9 were looked at.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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

_NAME = re.compile(r"samples_(?P<task>.+?)(?:_(?P<date>\d{4}-\d\d-\d\dT[^_]*))?\.jsonl")
_RESULTS = re.compile(r"results(?:_(?P<date>\d{4}-\d\d-\d\dT[^_]*))?\.json")
_NO_METRICS = {
    *("doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics"),
    *("doc_hash", "prompt_hash", "target_hash"),
}
_USUAL = ("acc", "exact_match")
"""Metrics that are taken where there are several, the first of them."""


@dataclass
class _Run:
    """The files of one run. samples, results: by task; results: its part of results_*.json."""

    label: str
    samples: dict[str, Path] = field(default_factory=dict)
    results: Mapping[str, Any] = field(default_factory=dict)


def is_sample(value: object) -> bool:
    """Return whether a JSON value is a line of a file of samples."""
    return isinstance(value, dict) and {"doc_id", "filtered_resps"} <= value.keys()


def is_results(value: object) -> bool:
    """Return whether a JSON value is a file of results."""
    return isinstance(value, dict) and {"results", "configs", "versions"} <= value.keys()


def lm_eval_source(paths: Sequence[Path], name: str, options: ReadOptions) -> Source:
    """Return the scores in files of samples and results; several files of a task are several runs.

    A score is named as the harness does, "exact_match" or, where a task has several filters,
    "exact_match,strict-match". Without samples, the results of tasks are read.

    Raises ValueError, with file and line, for what the harness does not write.
    """
    runs = _runs(paths)
    reader = _Reader(options)
    scored = [reader.read(run) for run in runs]
    score = " / ".join(dict.fromkeys(reader.scores.values())) or "score"
    directions = {
        _direction(run, task, metric) for run in runs for task, metric in reader.scores.items()
    } - {None}
    higher = directions.pop() if len(directions) == 1 else None
    scores = make_scores(name, scored, score, options, higher_is_better=higher, notes=reader.notes)
    return Source(scores, documents=reader.documents)


def _runs(paths: Sequence[Path]) -> list[_Run]:
    """Return the files sorted into runs."""
    runs: dict[tuple[Path, str], _Run] = {}
    for path in sorted(paths):
        samples, results = _NAME.fullmatch(path.name), _RESULTS.fullmatch(path.name)
        date = (samples or results or {"date": None})["date"]
        # A file with a name of its own is a run of its own.
        key = (path.parent, date or ("" if samples or results else path.name))
        label = f"{path.parent.name}, {date}" if date else path.name
        run = runs.setdefault(key, _Run(label))
        if results or (not samples and path.suffix == ".json"):
            text = decode(read_bytes(path), path)
            run.results = parse_object(text, str(path))
            continue
        task = samples["task"] if samples else ""
        if task in run.samples:
            raise ValueError(f"{path} and {run.samples[task]} are of one run and task")
        run.samples[task] = path
    with_samples = [run for run in runs.values() if run.samples]
    return with_samples or list(runs.values())


class _Reader:
    """Reads runs and remembers which score was taken for each task."""

    def __init__(self, options: ReadOptions) -> None:
        self.options = options
        self.scores: dict[str, str] = {}
        self.documents: dict[tuple[str, str], str] = {}
        self.notes: list[str] = []

    def read(self, run: _Run) -> ScoredRun:
        if not run.samples:
            return ScoredRun(run.label, self._results(run))
        examples = {task: self._examples(task, path) for task, path in run.samples.items()}
        return run_of_examples(run.label, examples)

    def _results(self, run: _Run) -> dict[str, float]:
        """Return the score of each task that a file of results has."""
        values = {}
        tasks = run.results.get("results")
        if not isinstance(tasks, dict):
            raise ValueError(f"{run.label}: no object named results")
        for task, found in tasks.items():
            if task in (run.results.get("groups") or {}) or not isinstance(found, dict):
                continue  # the mean over other tasks
            numbers = {
                key.removesuffix(",none"): number
                for key, value in found.items()
                if "_stderr" not in key and key not in ("alias", "samples", "sample_len")
                if (number := as_number(value)) is not None
            }
            score = self._choose(task, list(numbers), f"{run.label}, task {task}")
            values[task] = numbers[score]
        return values

    def _examples(self, task: str, path: Path) -> Examples:
        """Return the examples of a file of samples."""
        lines = list(_objects(path))
        names = dict.fromkeys(name for _, sample in lines for name in _metrics(sample))
        score = self._choose(task, list(names), str(path))
        metric, _, wanted = score.partition(",")
        ids, values, groups = [], [], []
        seen: dict[str, int] = {}
        for line, sample in lines:
            if wanted and sample.get("filter", "none") != wanted:
                continue
            where = f"{path}, line {line}"
            document = _document(sample, where)
            if document in seen:
                raise ValueError(
                    f"{where}: document {document} again, after line {seen[document]}; if these "
                    "are several filters, this version of the harness does not say which"
                )
            seen[document] = line
            ids.append(document)
            values.append(_value(sample, metric, where))
            groups.append(self._cluster(sample, where))
            self._remember(task, document, sample, where)
        clusters = np.array(groups) if any(group is not None for group in groups) else None
        return Examples(np.array(ids), np.array(values, dtype=np.float64), clusters)

    def _choose(self, task: str, names: Sequence[str], owner: str) -> str:
        """Return the score of a task, the same in each run."""
        usual = [name for name in _USUAL if name in names]
        wanted = self.options.score or self.scores.get(task)
        if wanted is None and len(names) > 1 and usual:
            wanted = usual[0]
            others = ", ".join(name for name in names if name != wanted)
            self.notes.append(f"{task or 'The task'}: scored by {wanted}; it also has {others}.")
        if wanted is not None and wanted not in names:
            # Without its filter, if there is but one.
            filtered = [name for name in names if name.split(",")[0] == wanted]
            wanted = filtered[0] if len(filtered) == 1 else wanted
        self.scores[task] = choose("metric", wanted, names, owner)
        return self.scores[task]

    def _cluster(self, sample: Mapping[str, Any], where: str) -> str | None:
        """Return the group of a document: a field of the sample or of its document."""
        name = self.options.columns.get("cluster")
        if name is None:
            return None
        for owner in (sample, sample.get("doc")):
            if isinstance(owner, dict) and isinstance(owner.get(name), str | int):
                return str(owner[name])
        raise ValueError(f"{where}: neither the sample nor its document has a field {name!r}")

    def _remember(self, task: str, document: str, sample: Mapping[str, Any], where: str) -> None:
        """Check that a document is the same in every run."""
        digest = sample.get("doc_hash")
        if isinstance(digest, str):
            known = self.documents.setdefault((task, document), digest)
            if known != digest:
                raise ValueError(
                    f"{where}: document {document} has doc_hash {digest[:12]}, but "
                    f"{known[:12]} in another run: they are of different data"
                )


def _objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the samples of a file with their lines."""
    text = decode(read_bytes(path), path)
    if text.lstrip().startswith("["):
        for number, value in enumerate(parse_value(text, str(path)), 1):
            if not is_sample(value):
                raise ValueError(f"{path}, entry {number}: not a sample of the harness")
            yield number, value
        return
    found = False
    for line, part in enumerate(text.split("\n"), 1):
        if part.strip():
            value = parse_object(part, f"{path}, line {line}")
            if not is_sample(value):
                missing = ", ".join(sorted({"doc_id", "filtered_resps"} - value.keys()))
                raise ValueError(f"{path}, line {line}: no sample of the harness: lacks {missing}")
            found = True
            yield line, value
    if not found:
        raise ValueError(f"{path} holds no sample")


def _metrics(sample: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of the metrics that are numbers, with the filter unless there is none."""
    suffix = sample.get("filter", "none")
    listed = sample.get("metrics")
    for name, value in sample.items():
        if name in _NO_METRICS or as_number(value) is None:
            continue
        if not isinstance(listed, list) or name in listed:
            yield name if suffix == "none" else f"{name},{suffix}"


def _document(sample: Mapping[str, Any], where: str) -> str:
    document = sample["doc_id"]
    if isinstance(document, bool) or not isinstance(document, int | str):
        raise ValueError(f"{where}: doc_id is {json.dumps(document)[:40]}; it must name a document")
    return str(document)


def _value(sample: Mapping[str, Any], metric: str, where: str) -> float:
    """Return what a sample scores: a number, or NaN for null or nothing."""
    value = sample.get(metric)
    number = math.nan if value is None else as_number(value)
    if number is None:
        raise ValueError(f"{where}: {metric} is {json.dumps(value)[:40]}, no number")
    check_size(number, where)
    return number


def _direction(run: _Run, task: str, score: str) -> bool | None:
    """Return whether the file of results says that higher is better."""
    found: Any = run.results.get("higher_is_better")
    for key in (task, score.split(",")[0]):
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, bool) else None
