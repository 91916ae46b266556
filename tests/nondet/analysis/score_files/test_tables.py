"""Scores from CSV and TSV files."""

import csv
import io
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from factories.score_files import table
from nondet.analysis.comparison.scores import LARGEST
from nondet.analysis.score_files.options import ReadOptions
from nondet.analysis.score_files.reading import read_both, read_scores


def values_of(scores, task=""):
    return [run.values[task] for run in scores.runs]


def read(path, **options):
    return read_scores(str(path), ReadOptions(**options))


def test_a_line_is_a_run(tmp_path):
    path = table(tmp_path / "adam.csv", "seed,accuracy", "1,0.5", "2,0.25", "3,1")
    scores = read(path)
    assert (scores.name, scores.score) == ("adam", "accuracy")
    assert scores.percent
    assert scores.higher_is_better
    assert values_of(scores) == [0.5, 0.25, 1.0]
    assert [run.keys["seed"] for run in scores.runs] == ["1", "2", "3"]
    assert [run.label for run in scores.runs] == [f"adam.csv, line {n}" for n in (2, 3, 4)]
    assert scores.failed == ()
    assert scores.notes == ()


def test_the_score_is_named_or_the_only_number(tmp_path):
    path = table(tmp_path / "a.csv", "name,steps,loss,seed", "x,100,0.5,1", "y,100,0.25,2")
    with pytest.raises(ValueError, match=r"several that can be the column.*'steps', 'loss'"):
        read(path)
    scores = read(path, score="loss")
    assert values_of(scores) == [0.5, 0.25]
    assert not scores.higher_is_better
    assert not scores.percent
    assert "lower is better" in scores.notes[0]
    assert read(path, score="loss", higher_is_better=True).higher_is_better
    with pytest.raises(ValueError, match="has no column 'acc'; known: 'name', 'steps'"):
        read(path, score="acc")
    reasons = r"has no column of scores: of 'name', line 2, 'x' is no number; 'seed' is the seed"
    with pytest.raises(ValueError, match=reasons):
        read(table(tmp_path / "b.csv", "name,seed", "x,1"))


def test_a_column_named_score_comes_before_other_numbers(tmp_path):
    path = table(tmp_path / "a.csv", "epochs,Score", "10,0.5", "20,0.75")
    assert values_of(read(path)) == [0.5, 0.75]


def test_an_index_without_a_name_is_no_score(tmp_path):
    assert values_of(read(table(tmp_path / "a.csv", ",score", "0,7", "1,8"))) == [7.0, 8.0]


@given(
    values=st.lists(st.floats(-LARGEST, LARGEST), min_size=1, max_size=20),
    note=st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=10),
    ending=st.sampled_from(["\n", "\r\n"]),
    separator=st.sampled_from([",", "\t", ";"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_what_csv_writes_is_read(tmp_path_factory, values, note, ending, separator, encoding):
    # Python 3.11 quotes the characters of its line ending alone, and reads either as one.
    assume("\r" in ending or "\r" not in note)
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator=ending)
    writer.writerow(["note", "metric", "seed"])
    writer.writerows([note, repr(value), i] for i, value in enumerate(values))
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    path.write_bytes(text.getvalue().encode(encoding))
    scores = read(path, score="metric")
    assert values_of(scores) == values
    assert [run.keys["seed"] for run in scores.runs] == [str(i) for i in range(len(values))]


@pytest.mark.parametrize("cell", ["", "nan", "NA", "null", "-", " None "])
def test_a_missing_score_is_a_failed_run(tmp_path, cell):
    scores = read(table(tmp_path / "a.csv", "seed,score", "1,0.5", f"2,{cell}"))
    (failed,) = scores.failed
    assert failed.label == "a.csv, line 3"
    assert failed.failure == "it has no score"


@pytest.mark.parametrize("cell", ["inf", "-Infinity"])
def test_an_infinite_score_is_a_failed_run(tmp_path, cell):
    scores = read(table(tmp_path / "a.csv", "seed,score", "1,0.5", f"2,{cell}"))
    (failed,) = scores.failed
    assert "its score is" in failed.failure
    assert math.isinf(failed.values[""])


@pytest.mark.parametrize("cell", ["1e400", "-1e400", "1e400%", "9" * 400, "1.1e100"])
@pytest.mark.parametrize("header", ["seed,score", "seed,example,score"])
def test_scores_too_large_to_compute_with_are_refused(tmp_path, cell, header):
    lines = [f"{seed}{',q' * (header.count(',') - 1)},{x}" for seed, x in ((1, "0.5"), (2, cell))]
    path = table(tmp_path / "a.csv", header, *lines)
    message = r"line 3, column 'score': .* too large; scores must lie between -1e\+100 and 1e\+100"
    with pytest.raises(ValueError, match=message) as error:
        read(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("column", ["accuracy", "score"])
def test_percent_signs_are_hundredths(tmp_path, column):
    scores = read(table(tmp_path / "a.csv", column, "71.5%", "72%"))
    assert values_of(scores) == [0.715, 0.72]
    assert scores.percent
    assert not read(table(tmp_path / "b.csv", column, "71.5%", "172%")).percent
    assert not read(tmp_path / "a.csv", percent=False).percent


@pytest.mark.parametrize("plain", ["0.72", "72.0"])
def test_percent_signs_do_not_mix_with_plain_numbers(tmp_path, plain):
    path = table(tmp_path / "a.csv", "seed,accuracy", "1,nan", "2,71%", f"3,{plain}")
    message = rf"line 4, column 'accuracy': '{plain}' has no percent sign, but '71%' in line 3 has"
    with pytest.raises(ValueError, match=message):
        read(path)
    zero = table(tmp_path / "b.csv", "accuracy", "71%", "0", "inf", "-")
    assert values_of(read(zero))[:2] == [0.71, 0]


@pytest.mark.parametrize(
    "lines", [["0.91", "0.92", "0.93"], ["0,0.91", "1,0.92"], ["first,0.91", "second,0.92"]]
)
def test_a_table_without_a_header_is_refused(tmp_path, lines):
    with pytest.raises(ValueError, match=r"a\.csv, line 1: '[0.91]*' is no name of a column"):
        read(table(tmp_path / "a.csv", *lines))


def test_numbers_of_pandas_are_names_of_columns(tmp_path):
    pd.Series([0.5, 0.75]).to_csv(tmp_path / "a.csv")
    assert values_of(read(tmp_path / "a.csv")) == [0.5, 0.75]
    path = table(tmp_path / "b.csv", "lr,0.1,0.01", "x,0.5,0.75")
    assert values_of(read(path, score="0.01")) == [0.75]


def test_seeds_are_whole_numbers_however_written(tmp_path):
    pd.DataFrame({"seed": [1, 2, None], "score": 0.5}).to_csv(tmp_path / "a.csv", index=False)
    keys = [run.keys.get("seed") for run in read(tmp_path / "a.csv").runs]
    assert keys == ["1", "2", None]


def test_columns_that_are_no_scores_are_named_with_the_reason(tmp_path):
    path = table(tmp_path / "a.csv", "seed,accuracy,note", "1,0.5,", "2,bad,", "3,worse,")
    message = (
        "'seed' is the seed; of 'accuracy', line 3, 'bad' is no number; 'note' holds no number"
    )
    with pytest.raises(ValueError, match=message):
        read(path)
    path = table(tmp_path / "b.csv", "seed;accuracy", "1;0,5")
    with pytest.raises(ValueError, match="line 2, '0,5' is no number; a decimal point is a dot"):
        read(path)
    path = table(tmp_path / "c.csv", "seed|accuracy", "1|0.5")
    with pytest.raises(ValueError, match="columns are separated by comma, tab or semicolon"):
        read(path)


def test_percent_is_for_shares(tmp_path):
    path = table(tmp_path / "a.csv", "accuracy", "71.5", "72")
    assert not read(path).percent
    with pytest.raises(ValueError, match=r"the score 71\.5; .* must be shares from 0 to 1"):
        read(path, percent=True)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["seed,score", "1,0.5", "2,zero"], r"line 3, column 'score': 'zero' is no number"),
        (["seed,score", "1,1_000"], r"line 2, column 'score': '1_000' is no number"),
        (["seed,score", "1,\u0663"], r"line 2, column 'score': '\u0663' is no number"),
        (["seed;score", "1;0,5"], r"line 2, column 'score': '0,5' is no number; a decimal point"),
        (["seed,score", "1,0.5", "2"], r"line 3: 1 cells separated by comma, but 2 columns"),
        (["seed,score", "1,0.5,7"], r"line 2: 3 cells separated by comma, but 2 columns"),
        (["score,score", "1,0.5"], r"line 1: two columns are named 'score'"),
        (["seed,score", '1,"0.5'], r"line \d: unexpected end of data"),
        (["seed,score"], r"no line of scores below its header"),
    ],
)
def test_errors_name_line_and_column(tmp_path, lines, message):
    path = table(tmp_path / "a.csv", *lines)
    with pytest.raises(ValueError, match=message) as error:
        read(path, score="score")
    assert str(path) in str(error.value)


def test_lines_are_counted_across_quoted_breaks(tmp_path):
    path = table(tmp_path / "a.csv", "note,score", '"two\nlines",0.5', "x,y")
    with pytest.raises(ValueError, match="line 4, column 'score'"):
        read(path, score="score")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"\n \n", "nothing but blanks"),
        (b"score\n0.5\n\xff\xfe\n", "line 3: not text in UTF-8"),
        ("score\n0.5\n".encode("utf-16-le"), "line 1: not text; UTF-16 is read if it begins"),
    ],
)
def test_what_is_no_text_is_named(tmp_path, data, message):
    path = tmp_path / "a.csv"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=message):
        read(path)


def test_tasks_of_a_run(tmp_path):
    path = table(
        tmp_path / "a.csv",
        "seed,task,acc",
        *("1,qa,0.5", "1,math,0.25", "2,qa,0.75", "2,math,0.5", "3,qa,1"),
    )
    scores = read(path)
    assert scores.tasks == ("qa", "math")
    assert [dict(run.values) for run in scores.complete] == [
        {"qa": 0.5, "math": 0.25},
        {"qa": 0.75, "math": 0.5},
    ]
    assert [run.label for run in scores.failed] == ["a.csv, seed 3"]
    one = read(path, tasks=("qa",))
    assert one.tasks == ("qa",)
    assert len(one.complete) == 3
    with pytest.raises(ValueError, match="has no task 'poetry'; known: 'qa', 'math'"):
        read(path, tasks=("poetry",))


def test_tasks_need_runs(tmp_path):
    with pytest.raises(ValueError, match="none named run or seed"):
        read(table(tmp_path / "a.csv", "task,acc", "qa,0.5"))
    with pytest.raises(ValueError, match="line 3: a second score of 'qa', after line 2; seed '1'"):
        read(table(tmp_path / "b.csv", "seed,task,acc", "1,qa,0.5", "1,qa,0.5"))


def test_examples_of_runs(tmp_path):
    path = table(
        tmp_path / "a.csv",
        "run,seed,example,cluster,label,correct",
        *("r1,7,x,g1,cat,1", "r1,7,y,g1,dog,0", "r2,8,x,g1,cat,1", "r2,8,y,g1,dog,"),
    )
    scores = read(path)
    first, second = scores.runs
    assert first.keys == {"seed": "7"}
    assert (first.values[""], second.values[""]) == (0.5, 1.0)
    examples = second.examples[""]
    assert examples.ids.tolist() == ["x", "y"]
    assert np.array_equal(examples.scores, [1, math.nan], equal_nan=True)
    assert examples.clusters.tolist() == ["g1", "g1"]
    assert examples.labels.tolist() == ["cat", "dog"]
    assert scores.percent


def test_examples_without_runs_are_one_run(tmp_path):
    scores = read(table(tmp_path / "a.csv", "example,score", "x,1", "y,0.5"))
    assert values_of(scores) == [0.75]
    path = table(tmp_path / "b.csv", "example,score", "x,1", "y,0.5", "x,1")
    with pytest.raises(ValueError, match=r"line 4: a second line of 'x', after line 2; a column"):
        read(path)


def test_lines_of_a_run_must_agree_in_their_seed(tmp_path):
    path = table(tmp_path / "a.csv", "run,seed,example,score", "r,1,x,1", "r,2,y,1")
    with pytest.raises(ValueError, match="differ in the column 'seed': 1, 2"):
        read(path)


def test_columns_of_other_names(tmp_path):
    path = table(tmp_path / "a.csv", "trial,metric,dataset", "1,0.5,qa", "2,0.25,qa")
    scores = read(path, columns={"seed": "trial", "task": "dataset"})
    assert scores.tasks == ("qa",)
    assert [run.keys["seed"] for run in scores.runs] == ["1", "2"]
    with pytest.raises(ValueError, match="has no column 'no'"):
        read(path, columns={"seed": "no"})
    with pytest.raises(ValueError, match="no column is a 'sed'; known: seed"):
        ReadOptions(columns={"sed": "trial"})


def test_runs_are_paired_by_any_column_or_position(tmp_path):
    path = table(tmp_path / "a.csv", "fold,metric", "f1,0.5", "f2,0.25")
    assert [run.keys for run in read(path, pair_by="fold").runs] == [
        {"position": "0", "fold": "f1"},
        {"position": "1", "fold": "f2"},
    ]
    assert read(path, pair_by="position").runs[1].keys == {"position": "1"}
    with pytest.raises(ValueError, match="has no column 'no'"):
        read(path, pair_by="no")


def test_both_sides_in_one_file(tmp_path):
    path = table(
        tmp_path / "all.csv",
        "method,seed,accuracy",
        *("sgd,1,0.5", "adam,1,0.75", "sgd,2,0.25", "lion,9,0"),
    )
    a, b = read_both("sgd", "adam", within=str(path), by="method")
    assert (a.name, b.name) == ("sgd", "adam")
    assert (values_of(a), values_of(b)) == ([0.5, 0.25], [0.75])
    assert a.runs[1].label == "all.csv, line 4"
    with pytest.raises(ValueError, match="'SGD' in the column 'method'; known: 'sgd', 'adam', 'li"):
        read_both("SGD", "adam", within=str(path), by="method")
    with pytest.raises(ValueError, match="is no study; name the column"):
        read_both("sgd", "adam", within=str(path))
    with pytest.raises(ValueError, match="needs the table that has it"):
        read_both("sgd", "adam", by="method")
