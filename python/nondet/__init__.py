"""nondet: how far does each source of nondeterminism spread the results of training?

The command line is `nondet` (see `nondet --help`); the modules below it can be used alone.
Importing the package is cheap: torch is imported by the modules that compute with it.
"""

__version__ = "0.1.0"
