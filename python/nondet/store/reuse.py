"""Reuse finished runs of other studies in the same parent folder."""

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from nondet.environment import differences
from nondet.files import write_flushed
from nondet.store import records
from nondet.store.errors import StoreError
from nondet.store.folder import CHECKSUMS, OpenFolder, publish, read_folder, temporary_folder
from nondet.store.runs import check_run
from nondet.store.schemas import FORMAT
from nondet.store.study_file import NAME


def siblings(root: Path) -> Iterator[Path]:
    """Yield the folders of other studies in the parent folder of `root`, sorted by name."""
    here = root.resolve()
    if not here.parent.is_dir():
        return
    for folder in sorted(here.parent.iterdir()):
        if folder != here and (folder / NAME).is_file():
            yield folder


def is_reusable(
    runs: Path,
    later: Path,
    address: str,
    keeps: Collection[str],
    environment: Mapping[str, Any],
) -> bool:
    """Return True if a study holds the run `address`, undamaged and not failed, with at least the
    records `keeps`, computed in an environment that can be compared.

    runs, later: the study's folders of runs and of later records.
    """
    try:
        header = check_run(runs / address, address)
        if header is None or header.failure is not None or header.record["format"] != FORMAT:
            return False
        beside = records.read_records(later, address, header.record["hashes"])
    except StoreError:
        return False
    kept = header.records | beside.keys()
    return kept >= set(keeps) and not differences(header.record["environment"], environment)


def link_run(source: Path, target: Path, address: str) -> bool:
    """Create a folder of files with checksums from that of another study, unless there is one: by
    hard links, or by copies where the file system does not allow links. Return True if it was
    created.

    source, target: the folders of the studies that hold the folder `address`. Raises OSError if it
    cannot be written, ValueError if the source changed meanwhile.
    """
    place = target / address

    def copy(folder: OpenFolder) -> bool:
        with temporary_folder(place) as temporary:
            for name, digest in folder.checksums().items():
                _link(folder, name, temporary, folder.read(name, digest))
            with folder.open(CHECKSUMS) as file:
                _link(folder, CHECKSUMS, temporary, file.read())
            return publish(temporary, place)

    return read_folder(source / address, copy) or False


def link_records(source: Path, target: Path, address: str) -> None:
    """Link the later records of a run, as `link_run`."""
    for name in records.names_of(source, address):
        link_run(source / address, target / address, name)


def _link(folder: OpenFolder, name: str, target: Path, data: bytes) -> None:
    try:
        os.link(name, target / name, src_dir_fd=folder.descriptor)
    except OSError:  # another file system, or one without links
        write_flushed(target / name, data)
