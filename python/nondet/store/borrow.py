"""Runs that another study beside this one has done already."""

import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from nondet.environment import with_current_names
from nondet.files import flush_folder, write_flushed
from nondet.store.errors import StoreError
from nondet.store.folder import CHECKSUMS, OpenFolder, being_written, publish, read_folder
from nondet.store.runs import check_run


def siblings(root: Path) -> Iterator[Path]:
    """The folders of other studies beside this one, in the order of their names."""
    here = root.resolve()
    for folder in sorted(here.parent.iterdir()):
        if folder != here and (folder / "study.json").is_file():
            yield folder


def lends(
    place: Path, address: str, keeps: Collection[str], environment: Mapping[str, Any]
) -> bool:
    """Whether a folder holds a run that can stand in for one computed here: whole, undamaged, with
    these records, of an equal environment.
    """
    try:
        outline = check_run(place, address)
    except StoreError:
        return False
    return (
        outline is not None
        and outline.failure is None
        and outline.records >= set(keeps)
        and _comparable(outline.record["environment"]) == _comparable(environment)
    )


def take(source: Path, place: Path, superseded: Callable[[Path], bool]) -> None:
    """Puts a run into its place by hard links, or as a copy where there can be none; `superseded`
    as for `publish`.

    Raises OSError where this cannot be written, ValueError where the source changed.
    """

    def copy(folder: OpenFolder) -> bool:
        with being_written(place) as begun:
            for name, digest in folder.checksums().items():
                _link(folder, name, begun, folder.read(name, digest))
            with folder.open(CHECKSUMS) as file:
                _link(folder, CHECKSUMS, begun, file.read())
            flush_folder(begun)
            publish(begun, place, superseded)
        return True

    read_folder(source, copy)


def _link(folder: OpenFolder, name: str, target: Path, data: bytes) -> None:
    try:
        os.link(name, target / name, src_dir_fd=folder.descriptor)
    except OSError:  # another file system, or one without links
        write_flushed(target / name, data)


def _comparable(environment: Mapping[str, Any]) -> Any:
    """An environment as JSON gives it back, without what decides no bit."""
    return json.loads(json.dumps({**with_current_names(environment), "git": None}))
