"""A small check of the device's kernels under NVIDIA's compute-sanitizer, in another process."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import NamedTuple

from nondet.checking.devices import cpu_device, cuda_device
from nondet.checking.edges import edges
from nondet.checking.groups import check_groups, compared_with
from nondet.checking.results import Part

TOOL = "compute-sanitizer"
DEADLINE = 30.0
"""Seconds after which it is stopped: the tool makes kernels slower by a factor that depends on
them.
"""

_ERRORS = 99
"""The exit status that the tool is asked for if it finds errors."""


class Sanitized(NamedTuple):
    """What the tool found. outcome: "passed", "errors", "stopped" at the deadline, "failed" if the
    check itself failed, or "absent". text: the last lines that were printed.
    """

    outcome: str
    text: str = ""


def sanitize(device: str, deadline: float = DEADLINE) -> Sanitized:
    """Run the small check of "cpu" or "cuda" under the tool, if it is on PATH."""
    tool = shutil.which(TOOL)
    if tool is None:
        return Sanitized("absent")
    command = [tool, "--error-exitcode", str(_ERRORS), sys.executable, "-m", __name__, device]
    # A session of its own, so that Ctrl-C and the deadline end all its processes through this one.
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=deadline)
    except subprocess.TimeoutExpired:
        return Sanitized("stopped", f"no end within {deadline:.0f} s")
    finally:
        _end(process)
    lines = "\n".join(output.strip().splitlines()[-10:])
    outcome = {0: "passed", _ERRORS: "errors"}.get(process.returncode, "failed")
    return Sanitized(outcome, lines)


def _end(process: "subprocess.Popen[str]") -> None:
    """End a process and those that it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def main(arguments: Sequence[str]) -> int:
    """Compute calls of every op on a device, "cpu" or "cuda"; return 1 if a result is wrong."""
    (name,) = arguments
    reference = cpu_device("generic", 1)
    device = cuda_device() if name == "cuda" else reference
    part = Part("sanitizer", device.name)
    group = compared_with("edges", lambda: edges((33, 1025), ("float32",)), reference)
    check_groups(part, device, [group])
    for each in part.differences:
        print(f"{each.case}: {each.why}")
    print(f"{part.compared} results, {len(part.differences)} wrong")
    return 1 if part.differences else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
