"""Try to connect to a Ray cluster, in a process that can be killed.

    python -m nondet.execute.executors.ray_probe ADDRESS

`ray.init` may hang for many minutes, and end the process that calls it. The last line of the output
is JSON: null once the cluster has answered, or the text of the error.
"""

import importlib
import json
import os
import sys
from typing import Any

from nondet.execute.executors.deadlines import causes_of


def _connect(address: str) -> str | None:
    """Return why a cluster cannot be used, None if it can. address: as for `ray.init`."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray: Any = importlib.import_module("ray")  # it has only some types
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        ray.nodes()
    except Exception as error:
        return causes_of(error)
    return None


if __name__ == "__main__":
    print(f"\n{json.dumps(_connect(sys.argv[1]))}", flush=True)
    os._exit(0)  # leaves the cluster without its farewell, which may hang too
