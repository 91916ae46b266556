"""Tests of the imports in `python/nondet`: their direction, circles, and hidden public names."""

import ast
import graphlib
import inspect
import pkgutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import pytest

import nondet

ROOT = Path(__file__).resolve().parents[2] / "python"

FLOORS = (
    ("names",),
    (
        *("characters", "defaults", "environment", "files", "json_files", "keys"),
        *("metrics", "plain", "units"),
    ),
    ("schemas",),
    ("tracing",),
    ("checking", "data", "models", "lowlevel"),
    ("studies",),
    ("training",),
    ("store",),
    ("execute",),
    ("analysis",),
    ("report",),
    ("cli",),
    ("__main__",),
)
"""The subpackages and modules from the bottom up; each imports only from floors below its own."""

WITHOUT_TORCH = {
    "nondet",
    "nondet.analysis.results",
    "nondet.analysis.score_files.arrays",
    "nondet.analysis.score_files.pilots",
    "nondet.analysis.score_files.reading",
    "nondet.cli.comparing",
    "nondet.cli.diff",
    "nondet.cli.inspect",
    "nondet.cli.planning",
    "nondet.cli.ready",
    "nondet.cli.resume",
    "nondet.cli.run",
    "nondet.cli.score_options",
    "nondet.cli.selftest",
    "nondet.cli.studies",
    "nondet.cli.tracing",
    "nondet.environment.describe",
    "nondet.execute.cost",
    "nondet.execute.shapes",
    "nondet.store.verification",
}
"""Modules that commands load before they know if they need torch.

Only these import within functions.
"""


class Import(NamedTuple):
    """A name that a module imports from another; local if it does so in a function."""

    module: str
    name: str
    local: bool


def find_modules() -> dict[str, Path]:
    modules = {}
    for path in sorted((ROOT / "nondet").rglob("*.py")):
        if not (path.parent / "__init__.py").exists():  # files that no package holds
            continue
        parts = path.relative_to(ROOT).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return modules


MODULES = find_modules()


def find_imports(source: str) -> list[Import]:
    """Return all imports of a module, also those for type checkers and those in functions."""
    imports = []

    def visit(node: ast.AST, local: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                imports.extend(Import(alias.name, "", local) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, "imports name the whole module"
                for alias in child.names:
                    whole = f"{child.module}.{alias.name}"
                    if whole in MODULES:
                        imports.append(Import(whole, "", local))
                    else:
                        imports.append(Import(child.module or "", alias.name, local))
            visit(child, local or isinstance(child, ast.FunctionDef))

    visit(ast.parse(source), False)
    return imports


IMPORTS = {name: find_imports(path.read_text()) for name, path in MODULES.items()}


def room_of(module: str) -> str:
    return module.split(".")[1]


def floor_of(module: str) -> int:
    return next(number for number, rooms in enumerate(FLOORS) if room_of(module) in rooms)


def arrows(imports: dict[str, list[Import]]) -> dict[str, set[str]]:
    """Return the modules of the package that each module imports.

    The package itself is left out, because it offers names of all of them.
    """
    return {
        name: {each.module for each in taken if each.module in imports} - {"nondet"}
        for name, taken in imports.items()
        if name != "nondet"
    }


def test_every_module_has_a_floor():
    assert {room_of(name) for name in MODULES if name != "nondet"} == set().union(*FLOORS)


def test_no_module_imports_from_a_floor_above():
    upward = [
        f"{name} -> {other}"
        for name, others in arrows(IMPORTS).items()
        for other in others
        if room_of(other) != room_of(name) and floor_of(other) >= floor_of(name)
    ]
    assert upward == []


def test_no_two_modules_import_each_other_in_a_circle():
    graphlib.TopologicalSorter(arrows(IMPORTS)).prepare()


def test_a_circle_for_type_checkers_alone_is_found():
    sources = {
        "nondet.data.text": "from nondet.data import tokens",
        "nondet.data.tokens": "if TYPE_CHECKING:\n    from nondet.data.text import Text",
    }
    imports = {name: find_imports(source) for name, source in sources.items()}
    with pytest.raises(graphlib.CycleError):
        graphlib.TopologicalSorter(arrows(imports)).prepare()


def test_only_modules_loaded_without_torch_import_in_functions():
    local = defaultdict(set)
    for name, taken in IMPORTS.items():
        for each in taken:
            if each.local and each.module.split(".")[0] in ("nondet", "nondet_ext", "torch"):
                local[name].add(each.module)
    assert set(local) - WITHOUT_TORCH == set(), dict(local)


def test_nothing_private_of_nondet_ext_is_imported():
    private = [
        f"{name}: {each.module} {each.name}"
        for name, taken in IMPORTS.items()
        for each in taken
        if each.module.split(".")[0] == "nondet_ext"
        and any(part.startswith("_") for part in (*each.module.split("."), each.name))
    ]
    assert private == []


PUBLIC_AFTER_ALL_MODULES = """
import importlib, pkgutil, nondet
before = {name: getattr(nondet, name) for name in nondet.__all__}
for module in pkgutil.walk_packages(nondet.__path__, "nondet."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
hidden = [name for name in nondet.__all__ if getattr(nondet, name) is not before[name]]
assert not hidden, hidden
"""

PUBLIC_FIRST_USED_AFTER_ALL_MODULES = """
import importlib, pkgutil, types, nondet
for module in pkgutil.walk_packages(nondet.__path__, "nondet."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
for name in nondet.__all__:
    value = getattr(nondet, name)
    if name == "stats":
        assert isinstance(value, types.ModuleType) and callable(value.unbiased_sd)
    elif name == "__version__":
        assert isinstance(value, str)
    else:
        assert callable(value), name
plan = nondet.find_study("quick").plan(models=("linear",), epochs=4)
config = plan.configs[0]
assert isinstance(config, nondet.RunConfig)
result = nondet.train(config, nondet.Seeds(), nondet.load_dataset("digits"), onset=nondet.Onset())
assert isinstance(result, nondet.Result)
"""


@pytest.mark.parametrize("code", [PUBLIC_AFTER_ALL_MODULES, PUBLIC_FIRST_USED_AFTER_ALL_MODULES])
def test_public_names_survive_the_import_of_every_module(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_no_module_has_the_name_of_a_public_function():
    functions = {name for name in nondet.__all__ if inspect.isfunction(getattr(nondet, name))}
    assert {"train", "load", "load_dataset", "find_study", "run_study"} <= functions
    names = {part for name in MODULES for part in name.split(".")[1:]}
    assert functions & names == set()


def test_names_for_type_checkers_are_those_that_are_offered():
    tree = ast.parse(MODULES["nondet"].read_text())
    typed = {
        alias.asname
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("nondet")
        for alias in node.names
    }
    assert typed | {"__version__"} == set(nondet.__all__)


def test_import_loads_no_library_of_numbers():
    code = (
        "import sys, nondet\n"
        "heavy = {'torch', 'numpy', 'scipy', 'pandas', 'matplotlib', 'pydantic', 'typer'}\n"
        "heavy |= {'rich'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "try: nondet.lod\n"
        "except AttributeError as error: assert 'lod' in str(error)\n"
        "else: raise AssertionError\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_module_is_found_by_its_package():
    walked = {module.name for module in pkgutil.walk_packages(nondet.__path__, "nondet.")}
    assert walked | {"nondet"} == set(MODULES)
