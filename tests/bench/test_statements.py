"""What the pages say of the paper's statements follows from the tables beside them."""

import csv
import math

import pytest

import statements
from judges import by_quantity
from nondet import stats
from result_tables import RESULTS, Limits, MissingError, Tables, holds, quotient, together

Interval = stats.Interval
NAN = math.nan


def test_pages_say_what_the_tables_do():
    for path, text in statements.derived().items():
        assert path.read_text() == text, f"{path.name}: run python bench/statements.py"


def test_every_statement_is_derived():
    tables = Tables()
    for statement in statements.STATEMENTS:
        assert statements.judged(statement, tables).verdict != "not derived", statement.claim


@pytest.mark.parametrize(
    ("found", "limits", "verdict"),
    [
        (Interval(1.0, 0.6, 1.9), Limits(0.5, 2), "holds"),
        (Interval(1.0, 0.4, 1.9), Limits(0.5, 2), "undecided"),
        (Interval(1.0, 0.6, 2.1), Limits(0.5, 2), "undecided"),
        (Interval(0.2, 0.1, 0.4), Limits(0.5, 2), "does not hold"),
        (Interval(3.0, 2.1, 4), Limits(0.5, 2), "does not hold"),
        (Interval(1.0, 0.6, 40), Limits(0.5), "holds"),
        (Interval(0.1, NAN, NAN), Limits(0.5), "undecided"),
    ],
)
def test_an_interval_decides(found, limits, verdict):
    assert holds(found, limits) == verdict


def test_a_statement_on_all_fails_with_any():
    assert together(["holds", "undecided", "does not hold"]) == "does not hold"
    assert together(["holds", "undecided"]) == "undecided"
    assert together(["holds", "holds"]) == "holds"


def test_verdicts_by_quantity():
    assert by_quantity([("holds", "SD"), ("holds", "pairs")]) == "holds"
    shown = [("undecided", "SD"), ("holds", "pairs"), ("holds", "ranks")]
    assert by_quantity(shown) == "undecided (SD); holds (pairs, ranks)"


def test_interval_of_a_quotient():
    a, b = Interval(8.0, 4, 16), Interval(2.0, 1, 4)
    # Both logarithms reach ln 2 to each side, so their difference reaches sqrt(2) ln 2.
    reach = 2 ** math.sqrt(2)
    assert quotient(a, b) == pytest.approx((4, 4 / reach, 4 * reach))
    # Without any uncertainty below, the interval is the upper number's.
    assert quotient(a, Interval(2.0, 2, 2)) == pytest.approx((4, 2, 8))
    # The interval may lie further to one side, of which that of the quotient has its part.
    assert quotient(Interval(8.0, 8, 16), Interval(2.0, 1, 2)) == pytest.approx((4, 4, 4 * reach))
    for none in (Interval(0.0, NAN, NAN), Interval(2.0, NAN, NAN), Interval(1.0, 0, 2)):
        assert all(map(math.isnan, quotient(none, b)[1:]))
        assert all(map(math.isnan, quotient(a, none)[1:]))
    assert quotient(a, Interval(0.0, NAN, NAN)).value == math.inf


def write(folder, study, name, lines):
    path = folder / study / "tables" / f"{name}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, lines[0])
        writer.writeheader()
        writer.writerows(lines)


def relative(row, sd, pairs):
    return {"model": "resnet14-w8", "row": row, "relative_to": "all sources"} | {
        f"{name}_percent{end}": value
        for name, ends in (("cross_entropy", sd), ("disagreement", pairs))
        for end, value in zip(("", "_low", "_high"), ends, strict=True)
    }


def judge(words, tables):
    [statement] = [one for one in statements.STATEMENTS if words in one.claim]
    return statements.judged(statement, tables)


def test_a_quotient_of_the_report_goes_before_one_of_two_numbers(tmp_path):
    write(
        tmp_path, "table3", "spread-relative", [relative("one bit", (137, 81, 233), (90, 70, 120))]
    )
    found = judge("One bit spreads the ResNet", Tables(tmp_path))
    assert found.verdict == "holds"
    assert found.numbers.startswith("137% (95% CI 81-233%) of the cross-entropy SD of all sources")
    assert "90% (95% CI 70-120%) of the disagreement" in found.numbers


@pytest.mark.parametrize(
    ("sd", "pairs", "verdict"),
    [
        ((14, 7, 29), (10, 5, 20), "does not hold"),
        ((54, 26, 111), (58, 55, 76), "undecided (cross-entropy SD); holds (disagreement)"),
        ((54, "", ""), (58, "", ""), "undecided"),
    ],
)
def test_verdicts_follow_the_tables(tmp_path, sd, pairs, verdict):
    write(tmp_path, "table3", "spread-relative", [relative("one bit", sd, pairs)])
    assert judge("One bit spreads the ResNet", Tables(tmp_path)).verdict == verdict


@pytest.mark.parametrize(
    ("reduction", "pairs", "verdict"),
    [
        ((27, -2, 43), (52, 33, 80), "not refuted (mean of five columns); does not hold"),
        ((27, 5, 43), (52, 33, 80), "does not hold"),
        ((-10, -40, 20), (110, 80, 140), "not refuted"),
    ],
)
def test_a_denial_can_be_refuted_but_not_shown(tmp_path, reduction, pairs, verdict):
    names = ("", "_low", "_high")
    spread = {"model": "resnet14-w8", "row": "30 epochs"} | {
        f"variability_reduction_percent{end}": value
        for end, value in zip(names, reduction, strict=True)
    }
    row = relative("30 epochs", pairs, pairs)
    row |= {f"rank_distance_percent{end}": row[f"disagreement_percent{end}"] for end in names}
    write(tmp_path, "table7", "spread", [spread])
    write(tmp_path, "table7", "spread-relative", [row])
    found = judge("Neither learning rate nor duration", Tables(tmp_path))
    assert found.verdict.startswith(verdict)
    assert "30 epochs" in found.numbers


def test_reports_of_earlier_versions_are_named(tmp_path):
    (tmp_path / "table3").mkdir()
    (tmp_path / "table3" / "report.md").write_text("")
    write(tmp_path, "table3", "spread-intervals", [{"model": "linear", "row": "one bit"}])
    assert "The reports of table3 are of an earlier version" in statements.results_table(
        Tables(tmp_path)
    )
    write(tmp_path, "table3", "spread-relative", [relative("one bit", (1, 1, 1), (1, 1, 1))])
    assert "earlier version" not in statements.results_table(Tables(tmp_path))


def test_a_missing_table_is_named(tmp_path):
    found = judge("One bit spreads the ResNet", Tables(tmp_path))
    assert found.verdict == "not derived"
    assert found.numbers == "table3/tables/spread-intervals.csv is missing"
    write(tmp_path, "table3", "spread-intervals", [{"model": "linear", "row": "one bit"}])
    found = judge("One bit spreads the ResNet", Tables(tmp_path))
    assert "has 0 lines of model 'resnet14-w8', row 'one bit'" in found.numbers
    with pytest.raises(MissingError, match="no number in sd"):
        Tables().interval("table8", "spread", "sd", model="linear", row="one bit")


def test_seeds_that_differ_are_no_control(tmp_path):
    for study, text in (("a", "trainings with equal seeds end in equal bits"), ("b", "NOT exact")):
        (tmp_path / study).mkdir()
        (tmp_path / study / "report.md").write_text(text)
    found = judge("Equal seeds", Tables(tmp_path))
    assert found == ("does not hold", "in 1 of 2 studies")
    assert judge("Equal seeds", Tables(tmp_path / "a")).verdict == "does not hold"


def test_check_reports_pages_that_differ(monkeypatch, capsys, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("old")
    monkeypatch.setattr(statements, "ROOT", tmp_path)
    monkeypatch.setattr(statements, "derived", lambda: {page: "new"})
    monkeypatch.setattr("sys.argv", ["statements", "--check"])
    with pytest.raises(SystemExit, match="1"):
        statements.main()
    assert page.read_text() == "old"
    monkeypatch.setattr("sys.argv", ["statements"])
    statements.main()
    assert page.read_text() == "new"
    assert "page.md written" in capsys.readouterr().out
    assert RESULTS.is_dir()
