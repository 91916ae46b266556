"""Measures of the stored runs of a language model, computed once from their weights (see
nondet.store.measures).
"""

import hashlib
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from nondet.analysis.streaming.measures import Measures, measure
from nondet.analysis.streaming.models import StoredModel, check_models, language_of, taps_of
from nondet.analysis.streaming.staging import OtherWorkError
from nondet.environment import decisive, differences
from nondet.execute.jobs import environment_of
from nondet.files import unfinished
from nondet.store import Store, StoredRun, StoreError
from nondet.store.folder import write_folder
from nondet.store.measures import (
    CKA,
    MATRICES,
    VECTORS,
    Contents,
    Identity,
    format_measures,
    read_measures,
)
from nondet.store.measures_check import WORK

_SHA256 = re.compile("[0-9a-f]{64}")
_INDEX = re.compile(r"\[(\d+)\]")


def stored_measures(
    store: Store,
    runs: Sequence[StoredRun],
    test: np.ndarray,
    *,
    memory: int | str = "2GB",
    progress: Callable[[int, int, str], object] | None = None,
) -> Measures:
    """Return the measures of at least two finished runs of a language model on a test text,
    (tokens,) int64.

    Reads stored ones that were computed in the environment of all runs or in that of this process;
    else computes them and stores them if the folder can be written. Resumes an interrupted
    computation of the same environment. `notes` says which runs were trained in another
    environment.

    Raises StoreError for runs that cannot be measured, and names them; if there is too little
    memory or disk; if another process computes the same measures.
    """
    identity, environment = _identity(runs, test), _environment(runs)
    for candidate in (_environment_of_all(runs), environment):
        if candidate is not None:
            found = _find(store.measures / identity.key(candidate), identity, taps_of(runs[0]))
            if found is not None:
                return _measures(found, runs)
    check_models(runs, test)
    measures = _computed(store, runs, test, identity, environment, memory, progress)
    contents = _contents(measures, identity, environment)
    _store(store.measures / contents.key, contents)
    return _measures(contents, runs)


def _identity(runs: Sequence[StoredRun], test: np.ndarray) -> Identity:
    found = []
    for run in runs:
        language_of(run)
        hashes = run.record.get("hashes")
        sha256 = hashes.get("predictions") if isinstance(hashes, Mapping) else None
        if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
            raise StoreError(
                f"run {run.job.address} cannot be measured: hashes.predictions must be a SHA-256, "
                f"got {sha256!r:.60}"
            )
        found.append((run.job.address, sha256))
    tokens = np.ascontiguousarray(test, "<i8")
    return Identity(tuple(found), hashlib.sha256(tokens.tobytes()).hexdigest())


def _environment(runs: Sequence[StoredRun]) -> dict[str, Any]:
    """Return the environment in which this process computes the outputs of these runs."""
    device = StoredModel(runs[0], np.empty(0)).device
    return environment_of((device, runs[0].job.config.threads))


def _environment_of_all(runs: Sequence[StoredRun]) -> dict[str, Any] | None:
    """Return the environment of the runs, if it is the same for all in what decides bits."""
    first, *others = map(_trained_in, runs)
    return None if any(differences(first, other) for other in others) else first


def _trained_in(run: StoredRun) -> dict[str, Any]:
    environment = run.record.get("environment")
    return dict(environment) if isinstance(environment, Mapping) else {}


def _find(place: Path, identity: Identity, taps: tuple[str, ...]) -> Contents | None:
    """Return the measures in a folder; None if there are none, or damaged ones."""
    try:
        found = read_measures(place)
    except (OSError, ValueError):
        return None
    return found if found is None or (found.identity, found.taps) == (identity, taps) else None


def _computed(
    store: Store,
    runs: Sequence[StoredRun],
    test: np.ndarray,
    identity: Identity,
    environment: Mapping[str, Any],
    memory: int | str,
    progress: Callable[[int, int, str], object] | None,
) -> Measures:
    tokens = [run.tokens for run in runs if run.tokens is not None]

    def compute(scratch: Path) -> Measures:
        return measure(
            [StoredModel(run, test) for run in runs],
            test,
            np.stack([one.log_probabilities for one in tokens]),
            np.stack([one.predicted for one in tokens]),
            memory=memory,
            scratch=scratch,
            keys=identity.keys(),
            environment=decisive(environment),
            progress=progress,
        )

    try:
        with _scratch(store.measures / identity.name()) as scratch:
            try:
                return compute(scratch)
            except OtherWorkError:  # its name is that of this work
                shutil.rmtree(scratch / WORK)
                return compute(scratch)
    except (ValueError, OSError) as error:
        addresses = [run.job.address for run in runs]
        text = _INDEX.sub(lambda found: _of_run(addresses, int(found[1])), str(error))
        raise StoreError(f"the measures in {store.measures} cannot be computed: {text}") from error


def _of_run(addresses: Sequence[str], number: int) -> str:
    return f" of run {addresses[number]}" if number < len(addresses) else f"[{number}]"


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """Create the scratch folder, which stays if an exception leaves; a temporary one if it cannot
    be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        with tempfile.TemporaryDirectory(prefix="nondet-measures-") as name:
            yield Path(name)
        return
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def _contents(found: Measures, identity: Identity, environment: Mapping[str, Any]) -> Contents:
    arrays = {name: getattr(found, name) for name in (*VECTORS, *MATRICES)}
    arrays |= {f"{CKA}{tap}": matrix for tap, matrix in found.cka.items()}
    return Contents(identity, environment, arrays, found.plan, tuple(found.cka))


def _measures(found: Contents, runs: Sequence[StoredRun]) -> Measures:
    values: dict[str, Any] = {name: found.arrays[name] for name in (*VECTORS, *MATRICES)}
    cka = {tap: found.arrays[f"{CKA}{tap}"] for tap in found.taps}
    return Measures(**values, cka=cka, plan=found.plan, notes=_notes(found.environment, runs))


def _notes(environment: Mapping[str, Any], runs: Sequence[StoredRun]) -> tuple[str, ...]:
    """Return a sentence for each environment of runs that differs from that of their measures."""
    lines = ("; ".join(differences(_trained_in(run), environment)) for run in runs)
    return tuple(
        f"The outputs of {count} of {len(runs)} runs were computed for these measures in another "
        f"environment than that of their training: {text}."
        for text, count in Counter(lines).items()
        if text
    )


def _store(place: Path, contents: Contents) -> None:
    """Write a folder of measures, in place of a damaged one; not if the folder cannot be
    written.
    """
    with suppress(OSError):  # what cannot be written can be read all the same
        if _find(place, contents.identity, contents.taps) is None and place.exists():
            aside = unfinished(place)
            place.rename(aside)
            shutil.rmtree(aside) if aside.is_dir() else aside.unlink()
        write_folder(place, format_measures(contents))
