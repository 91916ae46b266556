"""What a file is recognised as, and both sides of a comparison."""

import json
import zipfile

import pytest

from factories.score_files import log, log_sample, sample, table, write_log, write_samples
from nondet.analysis.score_files.kinds import Kind, kind_of_file
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
    a = table(tmp_path / "a.csv", "accuracy", "0.5")
    b = table(tmp_path / "b.csv", "acc", "1.5")
    left, right = read_both(str(a), str(b))
    assert not left.percent
    assert not right.percent
    assert right.notes == ("a is scored by 'accuracy', b by 'acc'.",)


def test_directions_must_agree(tmp_path):
    a = table(tmp_path / "a.csv", "accuracy", "0.5")
    b = table(tmp_path / "b.csv", "loss", "0.5")
    with pytest.raises(ValueError, match="better for 'accuracy' or for 'loss', but not for both"):
        read_both(str(a), str(b))
