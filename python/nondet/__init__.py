"""Measure how far each source of nondeterminism spreads the results of training.

The command is `nondet` (see `nondet --help`). Every public name below is an attribute of this
package, imported at its first use: importing the package itself does not load torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nondet.analysis import stats as stats
    from nondet.analysis.comparison.planning import RunPlan as RunPlan
    from nondet.analysis.comparison.planning import plan_runs as plan_runs
    from nondet.analysis.comparison.scores import Scores as Scores
    from nondet.analysis.comparison.verdicts import compare_scores as compare_scores
    from nondet.analysis.results import Results as Results
    from nondet.analysis.results import load as load
    from nondet.analysis.score_files.options import ReadOptions as ReadOptions
    from nondet.analysis.score_files.reading import read_scores as read_scores
    from nondet.data import load_dataset as load_dataset
    from nondet.execute.executors import LocalPool as LocalPool
    from nondet.execute.executors import RayTasks as RayTasks
    from nondet.execute.executors import Serial as Serial
    from nondet.execute.runner import run_study as run_study
    from nondet.store import Store as Store
    from nondet.studies.catalog import find_study as find_study
    from nondet.studies.config import RunConfig as RunConfig
    from nondet.studies.job import Job as Job
    from nondet.studies.row import Row as Row
    from nondet.studies.seeds import Onset as Onset
    from nondet.studies.seeds import Seeds as Seeds
    from nondet.studies.shards import Shard as Shard
    from nondet.studies.specs import LanguageSpec as LanguageSpec
    from nondet.studies.specs import PerturbationSpec as PerturbationSpec
    from nondet.studies.study import Plan as Plan
    from nondet.studies.study import Preset as Preset
    from nondet.studies.study import Study as Study
    from nondet.tracing.compare.traces import compare_traces as compare_traces
    from nondet.tracing.record.public import step as step
    from nondet.tracing.record.public import trace as trace
    from nondet.training.checkpoint import Checkpoints as Checkpoints
    from nondet.training.loop import train as train
    from nondet.training.result import DivergedError as DivergedError
    from nondet.training.result import EpochRecord as EpochRecord
    from nondet.training.result import Result as Result

__version__: str

_MODULES = {"stats": "nondet.analysis.stats"}
_MODULE_OF = {
    "Checkpoints": "nondet.training.checkpoint",
    "DivergedError": "nondet.training.result",
    "EpochRecord": "nondet.training.result",
    "Job": "nondet.studies.job",
    "LanguageSpec": "nondet.studies.specs",
    "LocalPool": "nondet.execute.executors",
    "Onset": "nondet.studies.seeds",
    "PerturbationSpec": "nondet.studies.specs",
    "Plan": "nondet.studies.study",
    "Preset": "nondet.studies.study",
    "RayTasks": "nondet.execute.executors",
    "ReadOptions": "nondet.analysis.score_files.options",
    "Result": "nondet.training.result",
    "Results": "nondet.analysis.results",
    "Row": "nondet.studies.row",
    "RunConfig": "nondet.studies.config",
    "RunPlan": "nondet.analysis.comparison.planning",
    "Scores": "nondet.analysis.comparison.scores",
    "Seeds": "nondet.studies.seeds",
    "Serial": "nondet.execute.executors",
    "Shard": "nondet.studies.shards",
    "Store": "nondet.store",
    "Study": "nondet.studies.study",
    "compare_scores": "nondet.analysis.comparison.verdicts",
    "compare_traces": "nondet.tracing.compare.traces",
    "find_study": "nondet.studies.catalog",
    "load": "nondet.analysis.results",
    "load_dataset": "nondet.data",
    "plan_runs": "nondet.analysis.comparison.planning",
    "read_scores": "nondet.analysis.score_files.reading",
    "run_study": "nondet.execute.runner",
    "step": "nondet.tracing.record.public",
    "trace": "nondet.tracing.record.public",
    "train": "nondet.training.loop",
}

__all__ = ["__version__", *_MODULES, *_MODULE_OF]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value: Any = _version()
    elif name in _MODULES:
        value = importlib.import_module(_MODULES[name])
    elif name in _MODULE_OF:
        value = getattr(importlib.import_module(_MODULE_OF[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _version() -> str:
    """Return the version of the installed package: the number stands in pyproject.toml alone."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("nondet")
    except PackageNotFoundError:
        return "0+unknown"
