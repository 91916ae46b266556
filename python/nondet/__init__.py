"""nondet: how far does each source of nondeterminism spread the results of training?

The command line is `nondet` (see `nondet --help`); the modules below it can be used alone, and
`nondet.load(DIR)` reads the results of a study.
Importing the package is cheap: torch is imported by the modules that compute with it.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nondet.loading import Results as Results
    from nondet.loading import load as load

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in ("Results", "load"):
        from nondet import loading

        return getattr(loading, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
