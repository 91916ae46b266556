"""What a file is recognised as, and both sides of a comparison."""

import json
import zipfile

import pytest

from factories.score_files import log, log_sample, sample, table, write_log, write_samples
from nondet.analysis.score_files.kinds import Kind, kind_of_file
from nondet.analysis.score_files.options import ReadOptions
from nondet.analysis.score_files.reading import read_both, read_scores


def test_files_are_recognised_by_their_contents(tmp_path):
    made = {
        Kind.TABLE: table(tmp_path / "a", "score", "1"),
        Kind.LM_EVAL: write_samples(tmp_path, "x", [sample(0, acc=1)]),
        Kind.INSPECT: write_log(tmp_path / "a.eval", log([log_sample(0, match=1)])),
    }
    for number, (kind, path) in enumerate(made.items()):
        other = path.rename(tmp_path / f"{number}.bin")
        assert kind_of_file(other) is kind
    record = write_log(tmp_path / "b.json", log([log_sample(0, match=1)]))
    record.write_text(json.dumps(json.loads(record.read_text())))  # on one line
    assert kind_of_file(record) is Kind.INSPECT


@pytest.mark.parametrize("text", ['{"a": 1}', "[]", "[1, 2]", '"score"', "{", '{"a": 1}\n{"b'])
def test_other_json_is_refused(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"a\.json"):
        read_scores(str(path))


def test_other_archives_are_refused(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(ValueError, match=r"an archive of readme\.txt, which is no file of scores"):
        read_scores(str(path))


def test_damage_further_down_is_named_with_its_line(tmp_path):
    path = write_samples(tmp_path, "x", [sample(i, acc=1) for i in range(3)])
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], lines[2][:40]]))
    with pytest.raises(ValueError, match="line 3: not JSON"):
        read_scores(str(path))


def test_several_files_are_several_runs(tmp_path):
    table(tmp_path / "base" / "1.csv", "accuracy", "0.5")
    table(tmp_path / "base" / "2.csv", "accuracy", "0.25", "0.75")
    (tmp_path / "base" / ".hidden").write_text("{")
    for place in (tmp_path / "base", tmp_path / "base" / "*.csv"):
        assert [run.label for run in read_scores(str(place)).runs] == [
            *("1.csv, line 2", "2.csv, line 2", "2.csv, line 3")
        ]
    assert read_scores(str(tmp_path / "base")).name == "base"
    write_samples(tmp_path / "base", "x", [sample(0, acc=1)])
    with pytest.raises(ValueError, match=r"base.* is a table|no file"):
        read_scores(str(tmp_path / "base" / "[12s]*"))


def test_places_that_hold_nothing(tmp_path):
    for place in (tmp_path / "no.csv", tmp_path / "no:row"):
        with pytest.raises(ValueError, match="cannot be read: No such file"):
            read_scores(str(place))
    with pytest.raises(ValueError, match="holds no file; known: a folder of `nondet run`"):
        read_scores(str(tmp_path / "*.csv"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no file"):
        read_scores(str(tmp_path / "empty"))


def test_files_of_equal_names_are_told_apart(tmp_path):
    places = [str(table(tmp_path / side / "runs.csv", "acc", "0.5")) for side in "ab"]
    assert [side.name for side in read_both(*places)] == places
    with pytest.raises(ValueError, match="there is nothing to compare"):
        read_both(places[0], places[0])


def test_both_sides_are_shown_alike(tmp_path):
    a = table(tmp_path / "a.csv", "speed", "50%")
    b = table(tmp_path / "b.csv", "rate", "0.75")
    left, right = read_both(str(a), str(b))
    assert not left.percent
    assert not right.percent
    assert right.notes == ("a is scored by 'speed', b by 'rate'.",)


def test_shares_are_not_compared_with_percent(tmp_path):
    a = table(tmp_path / "a.csv", "accuracy", "0.5")
    b = table(tmp_path / "b.csv", "acc", "51.5")
    message = r"accuracy lies between 0 and 1 in all runs of a, but b\.csv, line 2 has 51\.5: write"
    for sides in ((a, b), (b, a)):
        with pytest.raises(ValueError, match=message):
            read_both(*map(str, sides))
    left, right = read_both(str(a), str(b), ReadOptions(percent=False))
    assert not left.percent
    assert not right.percent


def test_percent_signs_are_not_compared_with_larger_numbers(tmp_path):
    a = table(tmp_path / "a.csv", "score", "50%")
    b = table(tmp_path / "b.csv", "score", "0.5", "51.5")
    message = (
        r"b\.csv, line 3 has the score 51\.5 without a percent sign, but a\.csv, line 2 has one"
    )
    for sides in ((a, b), (b, a)):
        with pytest.raises(ValueError, match=message):
            read_both(*map(str, sides))
    with pytest.raises(ValueError, match=message):
        read_scores(str(tmp_path))


def test_one_file_by_two_names_is_one_side(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table(tmp_path / "a.csv", "score", "0.5")
    (tmp_path / "b.csv").symlink_to("a.csv")
    for other in ("./a.csv", str(tmp_path / "a.csv"), "b.csv"):
        with pytest.raises(ValueError, match=r"both sides are 'a\.csv'; there is nothing"):
            read_both("a.csv", other)


def test_a_folder_of_other_files_is_refused(tmp_path):
    (tmp_path / "readme.txt").write_text("hello\nworld\n")
    with pytest.raises(
        ValueError, match=r"readme\.txt has no column of scores: of 'hello', line 2"
    ):
        read_scores(str(tmp_path))


def test_directions_must_agree(tmp_path):
    a = table(tmp_path / "a.csv", "accuracy", "0.5")
    b = table(tmp_path / "b.csv", "loss", "0.5")
    with pytest.raises(ValueError, match="better for 'accuracy' or for 'loss', but not for both"):
        read_both(str(a), str(b))
