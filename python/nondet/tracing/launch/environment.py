"""What a traced command gets in its environment."""

import importlib.util
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import nondet
from nondet.tracing.options import Options

INJECTED = Path(__file__).parent / "injected"
"""The folder that PYTHONPATH names: its sitecustomize.py runs in every Python that starts."""


def traced_environment(
    environment: Mapping[str, str], folder: Path, options: Options
) -> dict[str, str]:
    """Return an environment whose Python processes are part of a trace.

    environment: of this process. folder: of the trace; it is there. Raises ValueError if PYTHONPATH
    cannot name the folder of this package.
    """
    if os.pathsep in str(INJECTED):
        raise ValueError(f"PYTHONPATH cannot name {INJECTED}, for the {os.pathsep!r} in it")
    path = environment.get("PYTHONPATH", "")
    settings = {
        "options": asdict(options),
        "version": nondet.__version__,
        "packages": package_folders(),
    }
    return {
        **environment,
        "PYTHONPATH": f"{INJECTED}{os.pathsep}{path}" if path else str(INJECTED),
        "NONDET_TRACE": str(folder.absolute()),
        "NONDET_TRACE_OPTIONS": json.dumps(settings),
        # No rank of the parent: a command that has one is of that rank.
        "NONDET_TRACE_ROLE": ":main",
    }


def package_folders() -> dict[str, str]:
    """Return the folders that hold the packages of the recorder, by the names of these."""
    return {name: str(_folder_of(name)) for name in ("nondet", "nondet_ext")}


def _folder_of(package: str) -> Path:
    """Return the folder that holds a package, which is not imported."""
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).absolute().parent.parent
