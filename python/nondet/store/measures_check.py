"""Check the stored measures of pairs of language models, finished and unfinished, without changing
them.
"""

import fcntl
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from nondet.files import is_unfinished
from nondet.json_files import parse_json
from nondet.store.folder import OpenFolder, read_folder
from nondet.store.measures import RECORD, SCRATCH, Identity, read_measures
from nondet.store.scratch import check_records, read_record

WORK = "streaming"
STATE = "state.json"
LOCK = "lock"
SPEARMAN = "spearman"
"""Names in a scratch folder (see nondet.analysis.streaming.staging)."""

_SPEARMAN_STATE = "spearman_files.json"  # of nondet_ext, whose records have the same form
_KEY = re.compile("[0-9a-f]{32}")
_AGAIN = "The next report computes them again"


def check_all(measures: Path, predictions: Mapping[str, str | None]) -> list[str]:
    """Return what is wrong with all measures of a study, finished and unfinished, a message each.

    predictions: the SHA-256 of the predictions of every run of the study, by address; None for a
    damaged run, which may have any.
    """
    problems = []
    for place in _entries(measures):
        if _KEY.fullmatch(place.name):
            problems += check_measures(place, predictions)
        elif place.name.endswith(SCRATCH):
            problems += check_scratch(place)
        else:
            problems.append(f"{place} is not a folder of measures: its name is no key")
    return problems


def check_measures(place: Path, predictions: Mapping[str, str | None]) -> list[str]:
    """Return what is wrong with a folder of measures; see `check_all`."""
    try:
        contents = read_measures(place)
    except (OSError, ValueError) as error:
        if _is_of_former_version(place):
            return []
        return [f"the measures in {place} are damaged: {error}. {_AGAIN}"]
    if contents is None:
        return []
    runs = dict(contents.identity.runs)
    missing = sorted(runs.keys() - predictions.keys())
    if missing:
        return [
            f"the measures in {place} are of run {missing[0]}, which is not stored here. No report "
            "uses them until it is: repeat the run, or remove the folder"
        ]
    other = [run for run, sha256 in runs.items() if predictions[run] not in (sha256, None)]
    if other:
        return [
            f"the measures in {place} are of other predictions of run {other[0]}. No report uses "
            "them: remove the folder"
        ]
    return []


def check_scratch(place: Path) -> list[str]:
    """Return what is wrong with a scratch folder, which a process may be using just now."""
    problems = _scratch_problems(place)
    if problems:  # or a process is writing, or was until just now
        problems = _scratch_problems(place) if _is_free(place / WORK / LOCK) else []
    return [
        f"the unfinished measures in {place} are damaged: {text}. The next report computes that "
        "part again"
        for text in problems
    ]


def _scratch_problems(place: Path) -> list[str]:
    folder = place / WORK
    try:
        problems = check_records(folder, STATE)
        problems += check_records(folder / SPEARMAN, _SPEARMAN_STATE)
    except FileNotFoundError:  # a process removes what is finished
        return []
    except OSError as error:
        return [str(error)]
    try:
        state = read_record(folder / STATE)
    except ValueError:
        return problems  # told already
    if state is not None and scratch_name(state.entries) != place.name:
        problems.append(f"{STATE}: it belongs to other runs")
    return problems


def scratch_name(state: Mapping[str, Any]) -> str | None:
    """Return the name of the scratch folder whose state this is; None if it is that of no measures
    of runs.
    """
    keys, test = state.get("keys"), state.get("labels")
    if not isinstance(keys, list) or not isinstance(test, str):
        return None
    runs = [tuple(key.split(" ")) if isinstance(key, str) else () for key in keys]
    if any(len(run) != 2 for run in runs):
        return None
    return Identity(tuple((run[0], run[1]) for run in runs), test).name()


def _is_free(lock: Path) -> bool:
    """Return True if no process holds the lock."""
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return True
    except BlockingIOError:
        return False
    return True


def _is_of_former_version(place: Path) -> bool:
    """Return True for undamaged measures of a former version, which nothing uses."""

    def read(folder: OpenFolder) -> bool:
        files = folder.checksums()
        record = parse_json(folder.read(RECORD, files[RECORD]))
        for name, digest in files.items():
            folder.check(name, digest)
        return isinstance(record, dict) and record.keys() == {"plan", "taps"}

    try:
        return bool(read_folder(place, read))
    except (OSError, ValueError, KeyError):
        return False


def _entries(folder: Path) -> Iterator[Path]:
    """Yield the entries of a folder by name, except hidden and unfinished ones."""
    entries: Iterable[Path] = sorted(folder.iterdir()) if folder.is_dir() else ()
    for path in entries:
        if not path.name.startswith(".") and not is_unfinished(path):
            yield path
