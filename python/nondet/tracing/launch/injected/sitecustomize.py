"""Prepare a Python process for a trace; Python imports this file by its name as it starts.

`nondet trace` puts its folder in front of PYTHONPATH. Any version of Python may read this file.
"""

import os
import sys


def prepare():
    """Start what the trace needs in this process, where this version of Python can."""
    if sys.version_info < (3, 11) or "nondet_traced" in sys.modules:
        return
    import nondet_traced

    nondet_traced.prepare()


def run_hidden():
    """Run the sitecustomize that this one hides, as if this one were not there.

    Its errors are reported by Python, as ever.
    """
    folder = os.path.dirname(__file__)
    sys.path[:] = [path for path in sys.path if path != folder]
    own = sys.modules.pop("sitecustomize")
    try:
        import sitecustomize  # noqa: F401
    except ImportError as error:
        if getattr(error, "name", None) != "sitecustomize":
            raise
        sys.modules["sitecustomize"] = own  # Python expects the module that it has just imported


try:
    prepare()
finally:
    run_hidden()
