"""`nondet verify` notices every changed bit of every file of a study."""

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from factories.studies import language_study, made_study, trained_study, unfinished_study
from nondet.store import verify

MAKERS = {
    "made": made_study,
    "trained": trained_study,
    "language": lambda folder: language_study(folder, folder.parent / "text"),
    "unfinished": unfinished_study,
}


@pytest.fixture(scope="module", params=MAKERS)
def study(request, tmp_path_factory):
    return MAKERS[request.param](tmp_path_factory.mktemp(request.param) / "study").root


def kind(study: Path, path: Path) -> str:
    """Return the directories and the name of a file, without addresses, and its ending."""
    parts = path.relative_to(study).parts
    return "/".join((parts[0], path.name.partition("-")[0] if len(parts) > 1 else ""))


def kinds_of(study: Path) -> dict[str, list[Path]]:
    kinds = defaultdict(list)
    for path in sorted(study.rglob("*")):
        if path.is_file() and path.stat().st_size:
            kinds[kind(study, path)].append(path)
    return kinds


def check_flips(study: Path, count: int, seed: int) -> None:
    """Flip single bits, spread evenly over the kinds of files; each must be a problem."""
    assert verify(study).problems == []
    generator, kinds = np.random.default_rng(seed), kinds_of(study)
    missed = []
    for number in range(count):
        paths = kinds[list(kinds)[number % len(kinds)]]
        path = paths[generator.integers(len(paths))]
        whole = path.read_bytes()
        place, bit = int(generator.integers(len(whole))), int(generator.integers(8))
        changed = bytearray(whole)
        changed[place] ^= 1 << bit
        path.write_bytes(changed)
        if not verify(study).problems:
            missed.append((str(path.relative_to(study)), place, bit))
        path.write_bytes(whole)
    assert missed == []
    assert verify(study).problems == []


def test_a_changed_bit_is_noticed(study):
    check_flips(study, 60, seed=1)


@pytest.mark.slow
def test_every_changed_bit_is_noticed(study):
    check_flips(study, 500, seed=2)


KINDS = {
    "made": {"study.json", "runs", "records", "crashes", "labels", "report.html", "runs.csv"},
    "trained": {"prefixes", "tables", "figures", "report.md", ".report"},
    "language": {"measures"},
    "unfinished": {"checkpoints", "prefixes"},
}


def test_the_studies_have_files_of_every_kind(study):
    assert {path.relative_to(study).parts[0] for path in study.rglob("*")} >= (
        KINDS[study.parent.name.rstrip("0123456789")]
    )


def test_every_removed_or_exchanged_file_is_noticed(study):
    """Exchanges are of two files of one kind, each whole in itself."""
    missed = []
    for name, paths in kinds_of(study).items():
        if name.startswith((".lock", "study.json")):
            continue
        path = paths[0]
        whole = path.read_bytes()
        # Without its last file, a checkpoint or a crash looks as if it had not been written yet.
        if not name.startswith(("checkpoints", "prefixes", "crashes")):
            path.unlink()
            if not verify(study).problems:
                missed.append(("removed", name))
            path.write_bytes(whole)
        other = next((each for each in paths[1:] if each.read_bytes() != whole), None)
        if other is None:
            continue
        contents = other.read_bytes()
        path.write_bytes(contents)
        other.write_bytes(whole)
        if not verify(study).problems:
            missed.append(("exchanged", name))
        path.write_bytes(whole)
        other.write_bytes(contents)
    assert missed == []
    assert verify(study).problems == []
