"""Run benchmarks in several fresh processes, one after the other, and merge their results.

``python bench/run.py --out results.json [arguments of pytest]``

Some times depend on the process, by where its memory lies and which threads it got. So every case
is measured in three processes. The further arguments select cases: ``-m table`` the table of
docs/performance.md, ``-m growth`` the growth tables, ``bench/bench_ulp.py``, ``-k fingerprint``.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

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
    if not any(Path(each.partition("::")[0]).exists() for each in rest):
        rest = [str(HERE), *rest]
    results = run(rest, chosen.processes)
    if chosen.note:
        results.environment["note"] = chosen.note
    write(results, chosen.out)
    print(f"{heading(results)}\n\n{table(results)}")


def run(arguments: list[str], processes: int) -> Results:
    """Return the merged results of pytest's benchmarks with these arguments."""
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(processes):
            out = Path(folder) / f"{number}.json"
            print(f"process {number + 1} of {processes}", flush=True)
            # -P as the command `pytest`: what is installed, not what lies in the current folder.
            command = [sys.executable, "-P", "-m", "pytest", "-q", "-n", "0", "--out", str(out)]
            done = subprocess.run([*command, *arguments], stdout=subprocess.PIPE, text=True)
            if done.returncode != 0:
                sys.exit(f"{done.stdout}\npytest failed with status {done.returncode}")
            runs.append(read(out))
    return merge(runs)


if __name__ == "__main__":
    main(sys.argv[1:])
