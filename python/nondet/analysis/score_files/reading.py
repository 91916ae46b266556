"""Read the scores of one method, or of two that are compared, from whatever holds them."""

import glob
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nondet.analysis.comparison.scores import Scores
from nondet.analysis.score_files import arrays, inspect_logs, lm_eval_logs, tables
from nondet.analysis.score_files.cells import read_table
from nondet.analysis.score_files.files import read_bytes
from nondet.analysis.score_files.kinds import KNOWN, Kind, kind_of_file
from nondet.analysis.score_files.making import Source, is_share
from nondet.analysis.score_files.options import ReadOptions

_STUDY = "study.json"


def read_scores(place: str, options: ReadOptions | None = None, name: str | None = None) -> Scores:
    """Return the scores of one method.

    place: a file; a folder of files, or a pattern such as "logs/base_*.csv", whose files are
    further runs; a study with its row, "DIR:row" or "DIR:model/row". name: of the method; by
    default that of the place.

    Raises ValueError, naming file and line, and StoreError for a study that cannot be read.
    """
    return _with_mixing_notes(_source(place, options or ReadOptions(), name))


def read_both(
    a: str,
    b: str,
    options: ReadOptions | None = None,
    *,
    within: str | None = None,
    by: str | None = None,
) -> tuple[Scores, Scores]:
    """Return the scores of two methods.

    within: the table or study that holds both. by: the column of the table by which they are told
    apart; a and b are its values, or rows of the study. Without these, a and b are places as in
    `read_scores`. The notes of b name what of both must not be compared.

    Raises ValueError as `read_scores`, and for scores of unequal examples or directions.
    """
    options = options or ReadOptions()
    if a == b or (within is None and _same_place(a, b)):
        raise ValueError(f"both sides are {a!r}; there is nothing to compare")
    if within is None:
        if by is not None:
            raise ValueError("a column that tells methods apart needs the table that has it")
        sides = [_source(place, options, None) for place in (a, b)]
        if sides[0].scores.name == sides[1].scores.name:
            sides = [
                replace(side, scores=replace(side.scores, name=place))
                for side, place in zip(sides, (a, b), strict=True)
            ]
    else:
        sides = [_side(within, by, value, options) for value in (a, b)]
    return _matched(sides[0], sides[1], options.percent)


def _same_place(a: str, b: str) -> bool:
    """Return whether two places are one file or folder by other names."""
    one, other = Path(a), Path(b)
    return one.exists() and other.exists() and one.samefile(other)


def read_part(place: str, value: str, options: ReadOptions, *, by: str | None = None) -> Scores:
    """Return the scores of the row `value` of a study, or of the lines of a table that have it in
    the column `by`. Raises ValueError as `read_scores`.
    """
    return _with_mixing_notes(_side(place, by, value, options))


def is_study(folder: Path) -> bool:
    """Return whether a folder is one that `nondet run` wrote."""
    return (folder / _STUDY).is_file()


def _side(within: str, by: str | None, value: str, options: ReadOptions) -> Source:
    """Return the scores of a value of a column, or of a row of a study."""
    folder = Path(within)
    if is_study(folder):
        if by is not None:
            raise ValueError(f"{folder} is a study, whose rows are told apart by name, not by {by}")
        return _study(folder, value, options, None)
    if by is None:
        raise ValueError(f"{within} is no study; name the column (--by) that tells methods apart")
    found = {path: kind_of_file(path) for path in _files(within)}
    for path, kind in found.items():
        if kind is not Kind.TABLE:
            raise ValueError(f"{path} is {kind.value}, and no table with a column {by!r}")
    sources = [
        tables.table_source(read_table(path, read_bytes(path)), value, options, only=(by, value))
        for path in found
    ]
    return _joined(sources)


def _source(place: str, options: ReadOptions, name: str | None) -> Source:
    study = study_place(place)
    if study is not None:
        return _study(*study, options, name)
    files = _files(place)
    name = name if name is not None else Path(place.rstrip("/")).stem
    kinds = {path: kind_of_file(path) for path in files}
    kind = next(iter(kinds.values()))
    for path, other in kinds.items():
        if other is not kind:
            raise ValueError(f"{path} is {other.value}, but {files[0]} is {kind.value}")
    if kind is Kind.LM_EVAL:
        return lm_eval_logs.lm_eval_source(files, name, options)
    if kind is Kind.INSPECT:
        return inspect_logs.inspect_source(files, name, options)
    return _joined([_read_file(path, kind, name, options) for path in files])


def _read_file(path: Path, kind: Kind, name: str, options: ReadOptions) -> Source:
    data = read_bytes(path)
    if kind is Kind.TABLE:
        return tables.table_source(read_table(path, data), name, options)
    read = arrays.read_npz if kind is Kind.NUMPY else arrays.read_safetensors
    return arrays.arrays_source(path, read(path, data), name, options)


def _files(place: str) -> list[Path]:
    """Return the files of a place, sorted."""
    path = Path(place)
    if path.is_dir():
        files = [
            each
            for each in sorted(path.rglob("*"))
            if each.is_file() and not any(p.startswith(".") for p in each.parts[len(path.parts) :])
        ]
        samples = [each for each in files if each.name.startswith("samples_")]
        if samples:  # of lm-evaluation-harness, with results beside them
            return [each for each in files if each.name.startswith(("samples_", "results"))]
    elif path.exists() or not glob.has_magic(place):
        files = [path]
    else:
        # Path.glob takes no absolute pattern.
        found = sorted(glob.glob(place))  # noqa: PTH207
        files = [Path(each) for each in found if Path(each).is_file()]
    if not files:
        raise ValueError(f"{place} holds no file; {KNOWN}")
    return files


def study_place(place: str) -> tuple[Path, str | None] | None:
    """Return the folder and the row of a place in a study; None if it is in none."""
    if is_study(Path(place)):
        return Path(place), None
    parts = place.split(":")
    for count in range(len(parts) - 1, 0, -1):
        folder = Path(":".join(parts[:count]))
        if is_study(folder):
            return folder, ":".join(parts[count:])
    return None


def _study(folder: Path, row: str | None, options: ReadOptions, name: str | None) -> Source:
    # Studies need torch, files do not.
    from nondet.analysis.score_files.study_rows import find_row, row_source
    from nondet.store import Store

    store = Store(folder)
    found = find_row(store, store.plan(), row)
    return row_source(found, name or row or found.row.name, options)


def _joined(sources: Sequence[Source]) -> Source:
    """Return the runs of several files as those of one method."""
    first = sources[0].scores
    runs = [run for source in sources for run in source.scores.runs]
    names = {source.scores.score for source in sources}
    if len(names) > 1:
        raise ValueError(f"the files of {first.name!r} score {', '.join(sorted(names))}; name one")
    for source in sources[1:]:
        _check_signs(sources[0], source)
    notes = dict.fromkeys(note for source in sources for note in source.scores.notes)
    percent = all(source.scores.percent for source in sources)
    return Source(
        replace(first, runs=runs, percent=percent, notes=tuple(notes)),
        percent_signs=any(source.percent_signs for source in sources),
    )


def _check_signs(a: Source, b: Source) -> None:
    """Raise ValueError if one source has percent signs and the other has scores above 1."""
    signed, other = (a, b) if a.percent_signs else (b, a)
    if signed.percent_signs and not other.percent_signs:
        above = _above_one(other.scores)
        if above is not None:
            raise ValueError(
                f"{above[0]} has the score {above[1]:g} without a percent sign, but "
                f"{signed.scores.runs[0].label} has one; write either all or none with it"
            )


def _above_one(scores: Scores) -> tuple[str, float] | None:
    """Return the first run with a finite score above 1 in size, and the score."""
    for run in scores.runs:
        for value in run.values.values():
            if math.isfinite(value) and abs(value) > 1:
                return run.label, value
    return None


def _check_scales(a: Scores, b: Scores) -> None:
    """Raise ValueError if a score that is a share by its name is one on one side alone."""
    for one, other in ((a, b), (b, a)):
        above = _above_one(other)
        if one.percent and not other.percent and above is not None and is_share(other.score):
            raise ValueError(
                f"{one.score} lies between 0 and 1 in all runs of {one.name}, but {above[0]} has "
                f"{above[1]:g}: write percent signs or shares on both sides, or give --no-percent "
                "if both are of one scale"
            )


def _with_mixing_notes(source: Source) -> Scores:
    """Return scores, with a note if their runs must not be compared with one another."""
    if not source.environments:
        return source.scores
    from nondet.analysis.score_files.study_rows import mixing_notes

    return replace(source.scores, notes=(*source.scores.notes, *mixing_notes([source])))


def _matched(a: Source, b: Source, percent: bool | None) -> tuple[Scores, Scores]:
    """Return both scores with one way of showing them, and what must not be compared as a note.

    percent: what the options say.

    Raises ValueError if they are of different examples or scales, or higher is better on one side
    only.
    """
    left, right = a.scores, b.scores
    if percent is None:
        _check_signs(a, b)
        _check_scales(left, right)
    if left.higher_is_better != right.higher_is_better:
        raise ValueError(
            f"higher is better for {left.score!r} or for {right.score!r}, but not for both; say "
            "which is right"
        )
    for (task, document), digest in b.documents.items():
        known = a.documents.get((task, document), digest)
        if known != digest:
            of = f" of {task}" if task else ""
            raise ValueError(
                f"document {document}{of} has doc_hash {known[:12]} on one side and {digest[:12]} "
                "on the other: they are of different data"
            )
    notes = right.notes
    if left.score != right.score:
        notes = (
            *notes,
            f"{left.name} is scored by {left.score!r}, {right.name} by {right.score!r}.",
        )
    if a.environments or b.environments:
        from nondet.analysis.score_files.study_rows import mixing_notes

        notes = (*notes, *mixing_notes([a, b]))
    shown = left.percent and right.percent
    return (
        replace(left, percent=shown),
        replace(right, percent=shown, score=left.score, notes=notes),
    )
