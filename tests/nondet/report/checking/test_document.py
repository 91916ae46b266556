"""Test what the report of a check of a machine says, in every format."""

import csv
import io
import json
from dataclasses import replace

import pytest

from factories.selftests import DIFFERENCE, MACHINE, findings
from nondet.checking.results import Part
from nondet.report.checking.document import difference_words, selftest_document
from nondet.report.checking.records import parts_csv, selftest_json
from nondet.report.files import write_document
from nondet.report.render.terminal import make_console, print_document


def said(found):
    return selftest_document(found, MACHINE).sections[0].findings


def test_equal_bits_are_told_with_their_number_and_devices():
    first, atomic = said(findings())
    assert first == (
        "Yes: all 15,473 results that were compared have the specified bits, on cpu generic, "
        "1 thread and cuda:0."
    )
    assert atomic == "In the atomic order, 1 of 2 calls gave more than one result."


def test_a_difference_is_told_with_everything_that_names_it():
    first, second = said(findings(DIFFERENCE))
    assert first == "No: 1 difference among 15,473 results."
    assert second == (
        "cuda:0, ops at edges: sum/float32/seeded/n=33 gaps: differs from cpu generic, 1 thread; "
        "shape (3,); seed 7; at element (2,); 0x3f800001 in place of 0x3f800000."
    )


def test_a_changed_setting_has_no_case():
    changed = replace(DIFFERENCE, case="", shape="", seed="", element="", why="x has changed")
    assert difference_words(changed) == (
        "cuda:0, ops at edges: x has changed; 0x3f800001 in place of 0x3f800000"
    )


def test_of_many_differences_the_first_are_named():
    many = [replace(DIFFERENCE, seed=str(number)) for number in range(13)]
    lines = said(findings(*many))
    assert lines[0] == "No: 13 differences among 15,473 results."
    assert len(lines) == 12
    assert lines[-1] == "3 more in the table of differences."


def test_nothing_compared_is_no_success():
    found = findings()
    found.parts[:] = [Part("permanent digests", "cuda:0", left_out="no memory")]
    assert said(found)[0] == "Nothing was compared."


@pytest.mark.parametrize("differences", [(), (DIFFERENCE,)])
def test_the_page_names_machine_findings_and_notes(differences, tmp_path, capsys):
    found = findings(*differences)
    document = selftest_document(found, MACHINE)
    write_document(document, parts_csv(found), tmp_path)
    page = (tmp_path / "report.html").read_text()
    for text in ("A GPU", "580.1", "13.0", "generic, avx2", "2.14.1", "compute-sanitizer"):
        assert text in page, text
    assert "the checks and what each compared" in page
    assert "<script" not in page
    assert ("0x3f800001" in page) is bool(differences)
    assert (tmp_path / "tables" / "differences.csv").exists() is bool(differences)
    print_document(document, make_console())
    text = capsys.readouterr().out
    assert "compute-sanitizer, cuda:0: left out, compute-sanitizer is not on PATH." in text
    assert "none varied" in text
    assert all(len(line) <= 100 for line in text.splitlines())


def test_the_table_of_differences_has_every_field(tmp_path):
    found = findings(DIFFERENCE)
    write_document(selftest_document(found, MACHINE), parts_csv(found), tmp_path)
    [record] = csv.DictReader(io.StringIO((tmp_path / "tables" / "differences.csv").read_text()))
    assert record["op"] == "sum"
    assert record["dtype"] == "float32"
    assert {record[name] for name in ("expected", "found")} == {"0x3f800000", "0x3f800001"}
    assert (record["shape"], record["seed"]) == ("(3,)", "7")


def test_rates_are_told_beside_torch_and_the_copy():
    [table] = selftest_document(findings(), MACHINE).sections[-1].tables
    first, second = [[cell.text for cell in line.cells] for line in table.lines]
    assert first == ["sum, fixed", "1342.18", "sum", "2684.35", "0.50", "67.1"]
    assert second == ["spacing", "1342.18", "-", "-", "-", "67.1"]


def test_json_has_all_findings():
    text = selftest_json(findings(DIFFERENCE), MACHINE)
    assert text.isascii()
    found = json.loads(text, parse_constant=pytest.fail)
    assert (found["format"], found["version"], found["equal"]) == ("nondet selftest", 1, False)
    assert found["machine"] == MACHINE
    assert found["differences"][0]["op"] == "sum"
    assert found["differences"][0]["expected"] == "0x3f800000"
    assert found["memory"] == {
        "limit": 2 << 30,
        "estimates": {"ops at edges, cuda:0": 192 << 20},
        "peak": 100 << 20,
    }
    assert found["atomic"][1]["results"] == 31
    assert found["sanitizer"] == {"outcome": "absent", "text": ""}
    assert found["speed"]["ops"][0]["rate"] == pytest.approx(1342.18, rel=1e-4)
    assert found["parts"][2]["left_out"] == "compute-sanitizer is not on PATH"
    assert json.loads(selftest_json(findings(), MACHINE))["equal"] is True


def test_csv_has_a_record_for_each_check():
    records = list(csv.DictReader(io.StringIO(parts_csv(findings(DIFFERENCE)))))
    assert [record["check"] for record in records] == [
        *("permanent digests", "ops at edges", "compute-sanitizer", "atomic order")
    ]
    assert records[1]["differences"] == "1"
