"""Scores from what lm-evaluation-harness writes."""

import json
import math

import pytest

from factories.score_files import DATE, sample, write_results, write_samples
from nondet.analysis.score_files.options import ReadOptions
from nondet.analysis.score_files.reading import read_both, read_scores

LATER = "2025-03-02T10-00-00.123456"


def read(place, **options):
    return read_scores(str(place), ReadOptions(**options))


def test_a_file_is_a_run(tmp_path):
    path = write_samples(tmp_path, "gsm8k", [sample(0, exact_match=1.0), sample(1, exact_match=0)])
    scores = read(path)
    assert (scores.score, scores.percent, scores.higher_is_better) == ("exact_match", True, True)
    (run,) = scores.runs
    assert dict(run.values) == {"gsm8k": 0.5}
    assert run.label == f"{tmp_path.name}, {DATE}"
    assert run.examples["gsm8k"].ids.tolist() == ["0", "1"]
    assert run.examples["gsm8k"].scores.tolist() == [1.0, 0.0]


def test_files_of_a_folder_are_tasks_and_runs(tmp_path):
    for date, value in ((DATE, 1), (LATER, 0)):
        write_samples(tmp_path / "model", "arc_easy", [sample(0, acc=value)], date)
        write_samples(tmp_path / "model", "boolq", [sample(0, acc=1)], date)
        write_results(tmp_path / "model", {"arc_easy": {"acc,none": value}}, date)
    (tmp_path / "model" / "notes.txt").write_text("made by me")
    scores = read(tmp_path)
    assert [dict(run.values) for run in scores.runs] == [
        {"arc_easy": 1.0, "boolq": 1.0},
        {"arc_easy": 0.0, "boolq": 1.0},
    ]


def test_metrics_are_chosen(tmp_path):
    path = write_samples(tmp_path, "arc", [sample(0, acc=1.0, acc_norm=0.0, ppl=[1.5, 3])])
    scores = read(path)
    assert scores.runs[0].values["arc"] == 1.0
    assert scores.notes == ("arc: scored by acc; it also has acc_norm.",)
    assert read(path, score="acc_norm").runs[0].values["arc"] == 0.0
    with pytest.raises(ValueError, match="has no metric 'f1'; known: 'acc', 'acc_norm'"):
        read(path, score="f1")
    path = write_samples(tmp_path / "b", "x", [sample(0, bleu=1.0, chrf=0.0)])
    with pytest.raises(ValueError, match="several that can be the metric: 'bleu', 'chrf'"):
        read(path)


def test_filters_are_chosen(tmp_path):
    samples = [
        sample(i, name, exact_match=float(name == "flexible-extract"))
        for name in ("strict-match", "flexible-extract")
        for i in range(3)
    ]
    path = write_samples(tmp_path, "gsm8k", samples)
    with pytest.raises(ValueError, match="'exact_match,strict-match', 'exact_match,flexible-ext"):
        read(path)
    assert read(path, score="exact_match,strict-match").runs[0].values["gsm8k"] == 0.0
    assert read(path, score="exact_match,flexible-extract").runs[0].values["gsm8k"] == 1.0


def test_versions_without_filters_metrics_and_hashes(tmp_path):
    def old(document, value):
        made = sample(document, acc=value)
        return {k: v for k, v in made.items() if k != "metrics" and "hash" not in k} | {
            "filter": "none"
        }

    path = write_samples(tmp_path, "arc", [old(0, 1), old(1, 0)])
    assert read(path).runs[0].values["arc"] == 0.5
    first = [{k: v for k, v in old(i, i).items() if k != "filter"} for i in range(2)]
    path.write_text(json.dumps(first, indent=2))  # version 0.4.0 wrote a list
    assert read(path).runs[0].values["arc"] == 0.5
    path.write_text("".join(json.dumps(each) + "\n" for each in first + first))
    with pytest.raises(ValueError, match="line 3: document 0 again, after line 1; if these are se"):
        read(path)


def test_results_alone(tmp_path):
    for date, value in ((DATE, 0.5), (LATER, 0.25)):
        results = {
            "arc": {"alias": "arc", "acc,none": value, "acc_stderr,none": 0.01},
            "all": {"acc,none": 0.9},
        }
        write_results(
            tmp_path, results, date, groups={"all": {}}, higher_is_better={"arc": {"acc": True}}
        )
    scores = read(tmp_path)
    assert [dict(run.values) for run in scores.runs] == [{"arc": 0.5}, {"arc": 0.25}]
    assert not scores.runs[0].examples


def test_the_file_of_results_says_what_is_better(tmp_path):
    write_samples(tmp_path, "x", [sample(0, surprise=1.0)])
    write_results(tmp_path, {"x": {}}, higher_is_better={"x": {"surprise": False}})
    assert not read(tmp_path).higher_is_better
    assert read(tmp_path, higher_is_better=True).higher_is_better


def test_clusters_are_a_field_of_the_document(tmp_path):
    path = write_samples(tmp_path, "x", [sample(0, acc=1), sample(1, acc=0)])
    found = read(path, columns={"cluster": "subject"}).runs[0].examples["x"]
    assert found.clusters.tolist() == ["subject 5", "subject 6"]
    with pytest.raises(ValueError, match="line 1: neither the sample nor its document has a field"):
        read(path, columns={"cluster": "no"})


def test_missing_and_odd_values(tmp_path):
    path = write_samples(
        tmp_path, "x", [sample(0, acc=math.nan), sample(1, acc=None), sample(2, acc=True)]
    )
    scores = read(path)
    assert scores.runs[0].values["x"] == 1.0
    assert math.isnan(scores.runs[0].examples["x"].scores[1])
    path = write_samples(tmp_path, "y", [sample(0, acc=math.inf)])
    assert "its score on 'y' is inf" in read(path).failed[0].failure
    path = write_samples(tmp_path, "z", [sample(0, acc=1), sample(1, acc="yes")])
    with pytest.raises(ValueError, match=r'samples_z_.*line 2: acc is "yes", no number'):
        read(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"doc_id": 1, "filtered_resps": [', "line 2: not JSON that can be read"),
        ("[" * 200_000, "line 2: not JSON that can be read"),
        ('{"doc_id": 1}', "line 2: no sample of the harness: lacks filtered_resps"),
        ("7", "line 2: not a JSON object"),
        ('{"doc_id": [1], "filtered_resps": [], "acc": 1}', r"line 2: doc_id is \[1\]"),
        ('{"doc_id": 1, "filtered_resps": [], "acc": 1e999}', "line 2: .* beyond float64"),
        (f'{{"doc_id": 1, "filtered_resps": [], "acc": {"9" * 400}}}', "line 2: .* beyond float64"),
        ('{"doc_id": 1, "filtered_resps": [], "acc": -1e200}', "line 2: the score is -1e.200; sc"),
    ],
)
def test_errors_name_file_and_line(tmp_path, line, message):
    path = write_samples(tmp_path, "x", [sample(0, acc=1)])
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(ValueError, match=message) as error:
        read(path)
    assert str(path) in str(error.value)


def test_byte_order_marks_and_line_ends(tmp_path):
    path = write_samples(tmp_path, "x", [sample(0, acc=1), sample(1, acc=0)])
    text = path.read_text().replace("\n", "\r\n")
    for encoding in ("utf-8-sig", "utf-16"):
        path.write_bytes(text.encode(encoding))
        assert read(path).runs[0].values["x"] == 0.5


def test_documents_of_both_sides_are_the_same(tmp_path):
    write_samples(tmp_path / "a", "x", [sample(0, acc=1)])
    write_samples(tmp_path / "b", "x", [{**sample(0, acc=1), "doc_hash": "ff" * 32}])
    with pytest.raises(ValueError, match="document 0 of x has doc_hash 5feceb66ffc8 on one side"):
        read_both(str(tmp_path / "a"), str(tmp_path / "b"))
    for run, digest in (("1", "aa"), ("2", "bb")):
        write_samples(tmp_path / "c" / run, "x", [{**sample(0, acc=1), "doc_hash": digest * 32}])
    with pytest.raises(ValueError, match="they are of different data"):
        read(tmp_path / "c")
