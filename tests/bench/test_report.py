"""Tables of one result file, and of two side by side."""

import pytest

import report
from factories.benchmarks import case, measured, results
from measured import write


def rows(text: str) -> list[list[str]]:
    """Return the cells of every row of a Markdown table, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[1:]]


def test_a_row_has_the_ratio_with_processes_and_quartiles():
    ours, peer = rows(report.table(results(case([1.0, 1.1], [1.2, 1.3], [1.4, 1.5]))))
    assert ours == ["sum, 1e8", "sum", "ours", "10", "10.00", "1", "", "", "", ""]
    assert peer[5:8] == ["1.25", "1.05 to 1.45", "1.12 to 1.38"]


def test_one_process_has_no_range():
    peer = rows(report.table(results(case([1.0, 1.1]))))[1]
    assert peer[6] == ""


def test_an_unstable_ratio_says_so():
    steady, unstable = (
        rows(report.table(results(case(ratios))))[1][-1] for ratios in ([1.0, 1.0], [1.0, 2.0])
    )
    assert steady == ""
    assert unstable == "unstable"


@pytest.mark.parametrize(("ratio", "text"), [(1.2, "wanted 1.00"), (0.8, "wanted 1.00: missed")])
def test_a_wanted_ratio_is_shown(ratio, text):
    assert rows(report.table(results(case([ratio], wanted=1.0))))[1][-1] == text


def test_the_share_of_the_best_ceiling_is_taken_pair_by_pair():
    one = case([2.0])
    one.contenders.append(measured("copy", "ceiling", [0.5]))
    one.contenders.append(measured("slow copy", "ceiling", [4.0]))
    assert [row[8] for row in rows(report.table(results(one)))] == ["50%", "25%", "100%", "12%"]


def test_notes_show_the_values_of_all_processes():
    one = case([1.0], [1.0])
    for number, timing in enumerate(one.ours.processes):
        timing.notes["peak MB"] = 100.0 + number
    assert "sum, 1e8, sum: peak MB 100, 101" in report.table(results(one))


def test_the_heading_names_the_machine():
    line = report.heading(results(processes=3, note="beside other work"))
    for word in ("Processor 9", "generic", "2.13.0", "2026-01-02", "processes: 3", "beside other"):
        assert word in line


def test_two_files_side_by_side():
    before, after = results(case([0.5, 0.5])), results(case([0.6, 0.6], ours=0.008))
    ours, peer = rows(report.side_by_side(before, after))
    assert ours == ["sum, 1e8", "sum", "10 ms", "8 ms", "+25%", ""]
    assert peer == ["sum, 1e8", "torch.sum", "0.50", "0.60", "+20%", ""]


def test_side_by_side_keeps_what_only_one_file_has():
    found = rows(report.side_by_side(results(case([1.0])), results(case([2.0], name="new"))))
    assert [row[0] for row in found] == ["new", "new", "sum, 1e8", "sum, 1e8"]
    assert found[1][2:] == ["", "2.00", "", ""]
    assert found[3][2:] == ["1.00", "", "", ""]


def test_side_by_side_says_which_is_unstable_and_what_is_missed():
    before, after = results(case([1.0, 3.0])), results(case([0.5, 1.5], wanted=2.0))
    assert rows(report.side_by_side(before, after))[1][-1] == (
        "unstable before, wanted 2.00: missed, unstable"
    )


def test_the_command_prints_one_file_or_two(tmp_path, capsys):
    write(results(case([0.5], family="sum, n", size=10)), tmp_path / "a.json")
    write(results(case([0.6], family="sum, n", size=10)), tmp_path / "b.json")
    names = [str(tmp_path / name) for name in ("a.json", "b.json")]
    report.main(names[:1])
    one = capsys.readouterr().out
    assert "| torch.sum |" in one
    assert "| sum, n |" in one  # the growth table
    report.main(names)
    assert "| 0.50 | 0.60 | +20% |" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["a", "b", "c"]])
def test_the_command_wants_one_file_or_two(arguments):
    with pytest.raises(SystemExit, match="usage"):
        report.main(arguments)
