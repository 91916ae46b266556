"""Run benchmarks in fresh processes, one after the other, and merge their results.

``python bench/run.py --out results.json [arguments of pytest]``

Some times depend on the process, by where its memory lies and which threads it got. So every case
is measured in three processes, and each file of benchmarks has processes of its own: some change
settings of theirs. The further arguments select cases: ``-m table`` the table of
docs/performance.md, ``-m growth`` the growth tables, ``bench/bench_ulp.py``, ``-k fingerprint``.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from measured import Results, merge, read, write
from report import heading, table

HERE = Path(__file__).resolve().parent


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", metavar="FILE", type=Path, required=True, help="the result file")
    parser.add_argument("--processes", metavar="N", type=int, default=3, help="3 by default")
    parser.add_argument("--note", metavar="TEXT", help="a remark in the head of the table")
    chosen, rest = parser.parse_known_args(arguments)
    if chosen.processes < 1:
        parser.error(f"--processes must be at least 1, not {chosen.processes}")
    results = run(rest, chosen.processes)
    if chosen.note:
        results.environment["note"] = chosen.note
    write(results, chosen.out)
    print(f"{heading(results)}\n\n{table(results)}")


def files_of(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Split arguments of pytest into files of benchmarks, all if none is named, and options."""
    named = [each for each in arguments if Path(each.partition("::")[0]).exists()]
    options = [each for each in arguments if each not in named]
    files: list[str] = []
    for each in named or [str(HERE)]:
        files += sorted(map(str, Path(each).glob("bench_*.py"))) if Path(each).is_dir() else [each]
    return files, options


def run(arguments: list[str], processes: int) -> Results:
    """Return the merged results of pytest's benchmarks with these arguments."""
    files, options = files_of(arguments)
    runs = []
    for number in range(processes):
        for file in files:
            print(f"process {number + 1} of {processes}: {file}", flush=True)
            found = run_once(file, options)
            if found is not None:
                runs.append(found)
    if not runs:
        sys.exit("no benchmark is selected")
    return merge(runs)


def run_once(file: str, options: list[str]) -> Results | None:
    """Return the results of a file in a new process; None if it has no selected case."""
    # -P as the command `pytest`: what is installed, not what lies in the current folder.
    command = [sys.executable, "-P", "-m", "pytest", "-q", "-n", "0", file, *options]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "results.json"
        done = subprocess.run([*command, "--out", str(out)], stdout=subprocess.PIPE, text=True)
        if done.returncode not in (0, pytest.ExitCode.NO_TESTS_COLLECTED):
            sys.exit(f"{done.stdout}\npytest failed with status {done.returncode}")
        return read(out) if out.exists() else None


if __name__ == "__main__":
    main(sys.argv[1:])
