"""Test the package's public names and its version."""

import importlib
import pkgutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from types import ModuleType

import nondet
import nondet_ext

ROOT = Path(__file__).resolve().parents[2]


def public_names() -> dict[str, object]:
    return {
        name: value
        for name, value in vars(nondet_ext).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }


def test_no_module_hides_a_public_name():
    before = public_names()
    assert {"fingerprint", "forget_mult", "spearman_files"} <= before.keys()
    modules = [each.name for each in pkgutil.walk_packages(nondet_ext.__path__, "nondet_ext.")]
    assert {"nondet_ext.fingerprint", "nondet_ext._cka.models"} <= set(modules)
    for name in modules:
        importlib.import_module(name)
    assert public_names() == before
    assert all(callable(value) for name, value in before.items() if name != "__version__")


def test_the_version_is_that_of_the_installed_distribution():
    assert nondet_ext.__version__ == nondet.__version__ == metadata.version("nondet")


def test_the_version_stands_in_pyproject_alone():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    sources = [*ROOT.glob("nondet_ext/**/*.py"), *ROOT.glob("python/nondet/**/*.py")]
    assert len(sources) > 100
    assert [path for path in sources if f'"{version}"' in path.read_text()] == []


NOT_INSTALLED = """
from importlib import metadata

def version(name):
    raise metadata.PackageNotFoundError(name)

metadata.version = version
import nondet, nondet_ext
print(nondet.__version__, nondet_ext.__version__)
"""


def test_the_version_is_unknown_where_nothing_is_installed():
    code = [sys.executable, "-c", NOT_INSTALLED]
    done = subprocess.run(code, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0+unknown", "0+unknown"]
