"""Reuse finished runs of other studies in the same parent folder."""

import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from nondet.environment import with_current_names
from nondet.files import flush_folder, write_flushed
from nondet.store.errors import StoreError
from nondet.store.folder import CHECKSUMS, OpenFolder, publish, read_folder, temporary_folder
from nondet.store.runs import check_run


def siblings(root: Path) -> Iterator[Path]:
    """Yield the folders of other studies in the parent folder of `root`, sorted by name."""
    here = root.resolve()
    for folder in sorted(here.parent.iterdir()):
        if folder != here and (folder / "study.json").is_file():
            yield folder


def is_reusable(
    place: Path, address: str, keeps: Collection[str], environment: Mapping[str, Any]
) -> bool:
    """Return True if the folder `place` holds the run `address`, undamaged and not failed, with at
    least the records `keeps`, computed in an equal environment (the git commit may differ).
    """
    try:
        header = check_run(place, address)
    except StoreError:
        return False
    return (
        header is not None
        and header.failure is None
        and header.records >= set(keeps)
        and _comparable(header.record["environment"]) == _comparable(environment)
    )


def link_run(source: Path, place: Path, superseded: Callable[[Path], bool]) -> None:
    """Create the run folder `place` from `source` by hard links, or by copies where the file system
    does not allow links. superseded: see `publish`.

    Raises OSError if `place` cannot be written, ValueError if the source changed meanwhile.
    """

    def copy(folder: OpenFolder) -> bool:
        with temporary_folder(place) as temporary:
            for name, digest in folder.checksums().items():
                _link(folder, name, temporary, folder.read(name, digest))
            with folder.open(CHECKSUMS) as file:
                _link(folder, CHECKSUMS, temporary, file.read())
            flush_folder(temporary)
            publish(temporary, place, superseded)
        return True

    read_folder(source, copy)


def _link(folder: OpenFolder, name: str, target: Path, data: bytes) -> None:
    try:
        os.link(name, target / name, src_dir_fd=folder.descriptor)
    except OSError:  # another file system, or one without links
        write_flushed(target / name, data)


def _comparable(environment: Mapping[str, Any]) -> Any:
    """Return an environment as its JSON reads back, without the git commit."""
    return json.loads(json.dumps({**with_current_names(environment), "git": None}))
