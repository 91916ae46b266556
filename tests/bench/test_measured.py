"""Ratios, their quartiles and the mark of unstable ones; result files and their merging."""

import pytest

from factories.benchmarks import case, measured, results
from measured import merge, read, write


def test_the_ratio_is_the_median_of_the_medians_of_processes():
    each = measured("torch.sum", "peer", [1, 1, 9], [2, 2, 2], [4, 5, 4])
    assert each.medians == [1, 2, 4]
    assert each.ratio == 2


def test_seconds_are_the_median_over_processes():
    assert measured("sum", "peer", [1, 1, 9], [2], [4, 5, 4], ours=1.0).seconds == 2


def test_quartiles_are_of_the_pairs_of_all_processes():
    assert measured("torch.sum", "peer", [1, 2], [3, 4, 5]).quartiles == (2, 4)


@pytest.mark.parametrize(
    ("processes", "unstable"),
    [
        ([[1.0, 1.0, 1.0, 1.0]], False),
        ([[0.9, 0.95, 1.0, 1.05, 1.1]], False),  # a range of 0.1
        ([[0.8, 0.91, 1.0, 1.1, 1.2]], False),  # just below a fifth
        ([[0.8, 0.89, 1.0, 1.11, 1.2]], True),
        ([[8.0, 8.9, 10.0, 11.1, 12.0]], True),
        ([[9.0, 9.5, 10.0, 10.5, 11.0]], False),  # a tenth of the median
        ([[1.0, 1.0], [1.0, 1.0], [2.0, 2.0]], True),  # each process is steady by itself
        ([[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 90.0]], False),  # one disturbed pair
    ],
)
def test_a_ratio_is_unstable_from_a_fifth_of_its_median(processes, unstable):
    each = measured("torch.sum", "peer", *processes)
    assert each.unstable == unstable


def test_ours_is_never_unstable():
    assert not measured("sum", "ours", [1.0, 5.0]).unstable


@pytest.mark.parametrize(("wanted", "missed"), [(None, False), (0.5, False), (1.0, True)])
def test_a_ratio_below_the_wanted_one_is_missed(wanted, missed):
    assert measured("torch.sum", "peer", [0.9], wanted=wanted).missed == missed


def test_a_file_keeps_everything(tmp_path):
    before = results(case([1.5, 2.5], wanted=1.0), case([1.0], name="b", family="sum, n", size=9))
    write(before, tmp_path / "a.json")
    assert read(tmp_path / "a.json") == before


def test_a_file_rounds_to_five_digits(tmp_path):
    write(results(case([1 / 3])), tmp_path / "a.json")
    assert read(tmp_path / "a.json").cases[0].others[0].ratio == 0.33333


def test_merging_puts_processes_side_by_side():
    runs = [results(case([ratio, ratio])) for ratio in (1.0, 3.0, 2.0)]
    merged = merge(runs)
    assert merged.environment["processes"] == 3
    assert merged.environment["seconds"] == 21
    (only,) = merged.cases
    assert only.others[0].medians == [1.0, 3.0, 2.0]
    assert only.others[0].ratio == 2.0
    assert len(only.ours.processes) == 3
    assert len(runs[0].cases[0].ours.processes) == 1  # the runs themselves did not change


def test_merging_keeps_a_case_that_one_process_left_out():
    merged = merge([results(case([1.0])), results(case([1.0]), case([2.0], name="large"))])
    assert [len(each.ours.processes) for each in merged.cases] == [2, 1]


def test_merging_puts_the_cases_of_files_together():
    """Each process of two files measured other cases."""
    runs = [results(case([1.0], name=name)) for name in ("a", "b", "a", "b")]
    merged = merge(runs)
    assert [each.name for each in merged.cases] == ["a", "b"]
    assert merged.environment["processes"] == 2


def test_merging_keeps_the_contenders_of_a_case_apart():
    first, second = case([1.0]), case([2.0])
    second.contenders.append(measured("numpy.sum", "peer", [3.0]))
    (merged,) = merge([results(first), results(second)]).cases
    found = {each.name: each.medians for each in merged.others}
    assert found == {"torch.sum": [1.0, 2.0], "numpy.sum": [3.0]}


@pytest.mark.parametrize(
    ("name", "value"),
    [("processor", "Processor 8"), ("isa", "avx2"), ("torch", "2.14.0"), ("threads", 1)],
)
def test_runs_of_different_machines_are_not_merged(name, value):
    with pytest.raises(ValueError, match=f"differ in {name}"):
        merge([results(case([1.0])), results(case([1.0]), **{name: value})])
