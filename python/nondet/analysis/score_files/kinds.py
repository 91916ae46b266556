"""Recognise what a file of scores is, by its contents."""

import json
import zipfile
from enum import Enum
from pathlib import Path

from nondet.analysis.score_files import inspect_logs, lm_eval_logs
from nondet.analysis.score_files.files import decode, parse_value, read_bytes


class Kind(Enum):
    """What a file is, in words."""

    TABLE = "a table"
    NUMPY = "arrays of NumPy"
    SAFETENSORS = "arrays in the safetensors format"
    LM_EVAL = "files of lm-evaluation-harness"
    INSPECT = "logs of inspect_ai"


KNOWN = (
    "known: a folder of `nondet run`, CSV and TSV, .npz and .safetensors, samples and results of "
    "lm-evaluation-harness, logs of inspect_ai"
)


def kind_of_file(path: Path) -> Kind:
    """Return what a file is. Raises ValueError for a file that cannot be read or is nothing known.

    A text that is no JSON counts as a table.
    """
    head = read_bytes(path, 9)
    if head.startswith(b"\x93NUMPY"):
        return Kind.NUMPY
    if head.startswith(b"PK"):
        return _kind_of_archive(path)
    if head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= path.stat().st_size:
        return Kind.SAFETENSORS
    text = decode(read_bytes(path), path)
    begin = text.lstrip()
    if begin[:1] in ("{", "["):
        return _kind_of_json(path, begin)
    if not begin:
        raise ValueError(f"{path} holds nothing but blanks")
    return Kind.TABLE


def _kind_of_archive(path: Path) -> Kind:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise ValueError(f"{path}: a damaged archive: {error}") from None
    if names and all(name.endswith(".npy") for name in names):
        return Kind.NUMPY
    if inspect_logs.is_archive(names):
        return Kind.INSPECT
    listed = ", ".join(names[:5]) or "nothing"
    raise ValueError(f"{path}: an archive of {listed}, which is no file of scores; {KNOWN}")


def _kind_of_json(path: Path, text: str) -> Kind:
    first, _, rest = text.partition("\n")
    value = _first_value(first) if rest.lstrip().startswith("{") else None
    if value is None:
        try:
            value = parse_value(text, str(path))
        except ValueError:
            if not _begins_with_object(first):
                raise
            value = parse_value(first, f"{path}, line 1")
    if isinstance(value, list) and value:
        value = value[0]
    if lm_eval_logs.is_sample(value) or lm_eval_logs.is_results(value):
        return Kind.LM_EVAL
    if inspect_logs.is_log(value):
        return Kind.INSPECT
    names = ", ".join(map(repr, list(value)[:8])) if isinstance(value, dict) else "no object"
    raise ValueError(f"{path}: JSON with {names}, which is no file of scores; {KNOWN}")


def _first_value(line: str) -> object:
    """Return the value of a line of JSON; None if it is none by itself."""
    try:
        return parse_value(line, "")
    except ValueError:
        return None


def _begins_with_object(text: str) -> bool:
    """Return whether a line begins with a whole object, as in JSON Lines that are damaged there or
    later on.
    """
    try:
        json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return False
    return True
