"""Reads studies from the user's files."""

import importlib.util
import traceback
from collections.abc import Container
from pathlib import Path

from nondet.studies.errors import SettingError
from nondet.studies.study import Study
from nondet.studies.toml.reader import read_toml_study

SUFFIXES = (".toml", ".py")


def read_study(path: Path, taken: Container[str] = ()) -> Study:
    """Return the study in a TOML file, or the variable STUDY of a Python file.

    path: ends in one of SUFFIXES. taken: names that the study cannot have, because results are
    stored under them.

    Raises ValueError for a file without a study, SettingError (a ValueError) for a wrong setting,
    OSError if the file cannot be read.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no study file {path}")
    study = read_toml_study(path) if path.suffix == ".toml" else _from_python(path)
    if study.name in taken:
        raise ValueError(
            f"{path}: the name {study.name!r} is that of a study of nondet; give another"
        )
    return study


def _from_python(path: Path) -> Study:
    spec = importlib.util.spec_from_file_location(f"nondet_study_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == spec.origin]
        if isinstance(error, SyntaxError):
            lines = [error.lineno]
        place = f", line {lines[-1]}" if lines else ""
        if isinstance(error, SettingError):
            raise error.prefixed(f"{path}{place}: ") from error
        raise ValueError(f"{path}{place}: {type(error).__name__}: {error}") from error
    study = getattr(module, "STUDY", None)
    if not isinstance(study, Study):
        got = "no STUDY" if study is None else f"STUDY of type {type(study).__name__}"
        raise ValueError(f"{path} defines {got}; it must define STUDY, a nondet.Study")
    for preset in study.presets:
        try:
            study.plan(preset)
        except SettingError as error:
            raise error.prefixed(f"{path}, preset {preset!r}: ") from error
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}, preset {preset!r}: {error}") from error
    return study
