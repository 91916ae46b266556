"""Test that small studies give the results in study_digests.json: for every row, all columns of
runs.csv except the seconds and the folder.

Trainings use torch's kernels, which no specification fixes. The tests are skipped under another
version of torch, or on a processor for which its libraries compute other bits.

`python tests/digests/update.py studies` writes the file again and lists the changes. A changed
digest means that users get other results: CHANGELOG.md names each intended change.
"""

import json
from pathlib import Path

import pytest

from digests.studies import STUDIES, row_digests, rows, torch_arithmetic, torch_version

EXPECTED: dict[str, dict[str, str]] = json.loads(
    Path(__file__).with_name("study_digests.json").read_text()
)


@pytest.mark.skipif(
    torch_version() != EXPECTED["torch"]["version"],
    reason=f"the results were recorded with torch {EXPECTED['torch']['version']}",
)
@pytest.mark.parametrize(
    "study",
    [pytest.param(each, marks=() if each == "quick" else pytest.mark.slow) for each in STUDIES],
)
def test_results_are_those_of_the_file(study, tmp_path):
    found = rows(study, tmp_path)
    expected = EXPECTED[study]
    assert found.keys() == expected.keys()
    changed = {name for name, value in found.items() if value != expected[name]}
    if changed and torch_arithmetic() != EXPECTED["arithmetic"]:
        pytest.skip("torch's own arithmetic has other bits on this processor than on the file's")
    assert not changed, f"{len(changed)} of {len(found)} rows have other results"


def test_every_column_counts_but_the_seconds_and_the_folder():
    header = "model,row,init_seed,accuracy,failure,seconds,folder\n"
    line = "linear,control,1,0.5,,1.5,runs/ab\n"
    race = "linear,low-level race,1,0.5,,1.5,runs/cd\n"
    known = row_digests("quick", header + line)
    assert known.keys() == {"quick/linear/control"}
    assert row_digests("quick", header + line + race) == known
    for column, other, same in (
        ("init_seed", "2", False),
        ("accuracy", "0.5000001", False),
        ("failure", "loss", False),
        ("seconds", "2.5", True),
        ("folder", "runs/ef", True),
    ):
        values = line.strip().split(",")
        values[header.strip().split(",").index(column)] = other
        changed = row_digests("quick", header + ",".join(values) + "\n")
        assert (changed == known) is same
    assert row_digests("quick", header + line + line) != known
    assert row_digests("quick", header.replace("accuracy", "precision") + line) != known
