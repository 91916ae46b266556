"""The files of a report in a study's folder, and the list of them with their SHA-256.

The list may be anybody's: only files that a report writes are taken from it.
"""

import errno
import hashlib
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

MANIFEST = ".report"
"""The list, in the format of sha256sum: `sha256sum -c .report` checks a report too."""

PAGES = ("report.html", "report.md", "runs.csv")
"""The files that every report has."""

REMEDY = "`nondet report` writes it again"

_STEM = r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,199}"
_FILE = re.compile(
    rf"report\.html|report\.md|runs\.csv|tables/{_STEM}\.(csv|tex)|figures/{_STEM}\.(svg|png)"
)
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_LINE = re.compile("([0-9a-f]{64})  (.+)")
_LARGEST_MANIFEST = 1 << 20  # bytes


def is_report_file(name: str) -> bool:
    """Return True for the path of a file that a report can have, inside the study's folder."""
    return _FILE.fullmatch(name) is not None


def format_manifest(digests: Mapping[str, str]) -> str:
    """Return the list of these files, given the SHA-256 of each by its path.

    The files that every report has come last, so that a list that was cut off lacks them.

    Raises ValueError for a file that no report has.
    """
    for name in digests:
        if not is_report_file(name):
            raise ValueError(f"{name!r} is no name of a file of a report")
    names = sorted(digests, key=lambda name: (name in PAGES, name))
    return "".join(f"{digests[name]}  {name}\n" for name in names)


def read_manifest(folder: Path) -> dict[str, str | None]:
    """Return the files of the report in a folder, with the SHA-256 of each, by path.

    The SHA-256 is None if the list is one of earlier versions, which had none. Without a report
    there are no files. Raises ValueError if the list is damaged, OSError if it cannot be read.
    """
    try:
        data = _read(folder / MANIFEST)
    except FileNotFoundError:
        return {}
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise ValueError("is no text") from None
    files: dict[str, str | None] = {}
    *lines, rest = text.split("\n")
    if rest:
        raise ValueError("is cut off")
    matches = [_LINE.fullmatch(line) for line in lines]
    for line, match in zip(lines, matches, strict=True):
        # A list has a SHA-256 in every line, or in none.
        digest, name = (match[1], match[2]) if match else (None, line)
        if not is_report_file(name) or name in files or (match is None) != (matches[0] is None):
            raise ValueError(f"has a line that is none of a report: {line[:100]!r}")
        files[name] = digest
    if missing := [name for name in PAGES if name not in files]:
        raise ValueError(f"lacks {', '.join(missing)}")
    return files


def check_report(folder: Path) -> list[str]:
    """Return a message for each file of the report in a folder that is not as it was written.

    A report of earlier versions, whose list has no SHA-256, is checked for missing files alone.
    """
    try:
        files = read_manifest(folder)
    except (OSError, ValueError) as error:
        reason = (error.strerror or error) if isinstance(error, OSError) else error
        return [f"{folder / MANIFEST}, the list of the report's files, {reason}; {REMEDY}"]
    if not files and any(os.path.lexists(folder / name) for name in PAGES):
        return [f"{folder / MANIFEST}, the list of the report's files, is missing; {REMEDY}"]
    problems = []
    for name, digest in files.items():
        try:
            is_same = digest in (None, digest_of(folder / name))
        except FileNotFoundError:
            problems.append(f"{folder / name} is missing; {REMEDY}")
        except OSError as error:
            problems.append(f"{folder / name} cannot be read: {error.strerror or error}; {REMEDY}")
        else:
            if not is_same:
                problems.append(f"{folder / name} is not as the report wrote it; {REMEDY}")
    return problems


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file. Raises OSError if it is no file or cannot be read."""
    with os.fdopen(_open(path), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove_report_file(folder: Path, name: str) -> None:
    """Remove a file of a report if it is there.

    What is no plain file, and what lies behind a symbolic link, is left alone: no report wrote it.
    Raises OSError if the file cannot be removed.
    """
    path = PurePosixPath(name)
    if not is_report_file(name):
        return
    nested = len(path.parts) > 1
    flags = os.O_RDONLY | os.O_DIRECTORY | (os.O_NOFOLLOW if nested else 0)
    try:
        inside = os.open(folder / path.parent, flags)
        try:
            if stat.S_ISREG(os.lstat(path.name, dir_fd=inside).st_mode):
                os.unlink(path.name, dir_fd=inside)
        finally:
            os.close(inside)
    except OSError as error:
        if error.errno not in _ABSENT:
            raise


def _read(path: Path) -> bytes:
    with os.fdopen(_open(path), "rb") as file:
        data = file.read(_LARGEST_MANIFEST + 1)
    if len(data) > _LARGEST_MANIFEST:
        raise ValueError("is too long")
    return data


def _open(path: Path) -> int:
    """Open a plain file for reading. Raises OSError for anything else, without waiting."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path} is no file")
    return descriptor
