"""Tests of texts as data sets: their names, their files and their vocabulary."""

import hashlib
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nondet.data import TextDataset, load_dataset, make_text, text_files
from nondet.names import (
    DATASETS,
    MODELS,
    check_dataset,
    check_model,
    image_folder,
    is_language_model,
    is_text,
    text_source,
)

# In Penn Treebank format a line begins and ends with a space.
TRAIN = " the cat sat \n the <unk> sat on the mat \n N cats \n"
VALID = " the dog sat \n"
TEST = " the mat sat on the cat \n a dog \n"


def write(folder, prefix="ptb.", **contents):
    folder.mkdir(parents=True, exist_ok=True)
    parts = {"train": TRAIN, "valid": VALID, "test": TEST} | contents
    for part, content in parts.items():
        (folder / f"{prefix}{part}.txt").write_text(content, encoding="utf-8")
    return folder


def words(text, part):
    return " ".join(text.types[number] for number in getattr(text, part))


# -- names -----------------------------------------------------------------------------------------


def test_names_of_texts():
    assert text_source("pydoc") == ("pydoc", "", None)
    assert text_source("pydoc@3") == ("pydoc", "", 3)
    assert text_source("penn-treebank") == ("penn-treebank", "", None)
    assert text_source("text:a/b") == ("text", "a/b", None)
    assert text_source("text:a/b@500") == ("text", "a/b", 500)
    assert text_source("text:a@b") == ("text", "a@b", None)
    assert text_source("text:a@7@500") == ("text", "a@7", 500)
    for name in ("pydoc@3", "text:a@b@9", "text:x"):
        check_dataset(name)
        assert is_text(name)
        assert image_folder(name) is None


def test_texts_and_images_are_distinguished():
    texts = [name for name in DATASETS if is_text(name)]
    assert texts == ["pydoc", "penn-treebank"]
    for name in ("digits", "imagefolder:pydoc", "imagefolder:text:a", "pydocs", "text", ""):
        assert not is_text(name)
        assert text_source(name) is None
    assert isinstance(load_dataset("pydoc"), TextDataset)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("text:", "dataset is 'text:'; a text is text:PATH or text:PATH@TYPES, where PATH"),
        ("text:@50", "a text is text:PATH or"),
        ("text:a@2", "'text:a@2'; what follows the @ is the size of the vocabulary, at least 3"),
        ("pydoc@2", "'pydoc@2'; what follows the @ is the size of the vocabulary, at least 3"),
        ("pydoc@10000001", "what follows the @ is .*, and at most 10,000,000"),
        (f"text:a@{'9' * 5000}", "what follows the @ is .*, and at most 10,000,000"),
        ("pydoc@many", "'pydoc@many'; what follows the @ is the size of the vocabulary"),
        ("pydoc@-5", "'pydoc@-5'; what follows"),
        ("pydoc@", "'pydoc@'; what follows"),
        ("penn-treebank@500", "penn-treebank has the vocabulary of its files; text:PATH@"),
        (
            "pydocs",
            r"did you mean pydoc\? known data sets: digits.*; pydoc@TYPES; and a text, text",
        ),
        ("text", "known data sets: .*text:PATH or text:PATH@TYPES"),
    ],
)
def test_wrong_names_are_refused(name, message):
    for check in (check_dataset, load_dataset):
        with pytest.raises(ValueError, match=message):
            check(name)


def test_a_language_model_is_a_model_of_its_own_kind():
    assert [name for name in MODELS if is_language_model(name)] == ["qrnn"]
    check_model("qrnn")
    assert not is_language_model("resnet14-w8")
    with pytest.raises(ValueError, match=r"'qrn'; did you mean qrnn\?"):
        check_model("qrn")


# -- files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["penn-treebank", "text:{}/penn-treebank"])
def test_every_line_of_a_folder_ends_a_sentence(tmp_path, name):
    write(tmp_path / "penn-treebank")
    text = load_dataset(name.format(tmp_path), tmp_path)
    assert words(text, "train") == ("the cat sat <eos> the <unk> sat on the mat <eos> N cats <eos>")
    assert {text.train.dtype, text.valid.dtype, text.test.dtype} == {torch.int64}
    assert text.types[:5] == ("<eos>", "<unk>", "the", "sat", "N")
    if name == "penn-treebank":  # all words of all files
        assert text.classes == 2 + 7 + 2
        assert text.types[5:] == ("cat", "cats", "mat", "on", "a", "dog")
        assert words(text, "valid") == "the dog sat <eos>"
        assert words(text, "test") == "the mat sat on the cat <eos> a dog <eos>"
    else:
        assert text.types[5:] == ("cat", "cats", "mat", "on")
        assert words(text, "valid") == "the <unk> sat <eos>"
        assert words(text, "test") == "the mat sat on the cat <eos> <unk> <unk> <eos>"
    assert load_dataset(name.format(tmp_path), tmp_path) is text


def test_lines_are_those_of_any_system(tmp_path):
    write(tmp_path, "", train="\ufeffa b\r\n\r\nc", valid="a\n\n", test="x\u2028c\x0bb\n")
    text = load_dataset(f"text:{tmp_path}")
    assert words(text, "train") == "a b <eos> <eos> c <eos>"
    assert words(text, "valid") == "a <eos> <eos>"
    assert words(text, "test") == "<unk> c b <eos>"
    assert text.facts["source"] == "train.txt, valid.txt, test.txt"


def test_the_penn_treebank_lies_where_the_environment_says(tmp_path, monkeypatch):
    write(tmp_path / "penn-treebank", test="cat")
    monkeypatch.setenv("NONDET_DATA", str(tmp_path))
    assert words(load_dataset("penn-treebank"), "test") == "cat <eos>"


def test_published_files_are_recognized(tmp_path, monkeypatch):
    def published():
        return text_files.load_penn_treebank(folder).facts["published"]

    folder = write(tmp_path / "penn-treebank")
    assert published() == (
        "no: types 11 instead of 10000, train_tokens 14 instead of 929589, "
        "valid_tokens 4 instead of 73760, test_tokens 10 instead of 82430"
    )
    counts = {"types": "11", "train_tokens": "14", "valid_tokens": "4", "test_tokens": "10"}
    monkeypatch.setattr(text_files, "PUBLISHED_COUNTS", counts)
    files = ("ptb.train.txt", "ptb.valid.txt", "ptb.test.txt")
    assert published() == f"no: as many tokens, but other bytes in {', '.join(files)}"
    sums = {file: hashlib.md5((folder / file).read_bytes()).hexdigest() for file in files}
    monkeypatch.setattr(text_files, "PUBLISHED_MD5", sums)
    assert published() == "yes"
    write(folder, valid="the dog sat\n")
    assert published() == "no: as many tokens, but other bytes in ptb.valid.txt"


def test_the_penn_treebank_is_never_downloaded(tmp_path):
    for download in (False, True):
        with pytest.raises(FileNotFoundError) as caught:
            load_dataset("penn-treebank", tmp_path, download)
        assert str(caught.value).startswith(
            f"penn-treebank is not in {tmp_path / 'penn-treebank'}: no ptb.train.txt, no "
            "ptb.valid.txt, no ptb.test.txt. It is never downloaded: get the three files"
        )
        assert f"NONDET_DATA names another folder than {tmp_path}" in str(caught.value)
    (write(tmp_path / "penn-treebank") / "ptb.valid.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"no ptb.valid.txt\. It is never"):
        load_dataset("penn-treebank", tmp_path)


def test_a_plain_text_is_cut_and_split(tmp_path):
    file = tmp_path / "a@b.txt"
    file.write_text("\ufeff" + "The cat sat. It is 1 cat!\n\nÉtude\n\n" * 10, encoding="utf-8")
    text = load_dataset(f"text:{file}")
    # Of 120 tokens the 96th is the end of "Étude", the 108th too.
    once = "the cat sat <eos> it is N cat ! <eos> étude <eos>"
    assert words(text, "train") == " ".join([once] * 8)
    assert words(text, "valid") == words(text, "test") == once
    assert text.types == ("<eos>", "<unk>", "cat", "!", "N", "is", "it", "sat", "the", "étude")
    assert load_dataset(f"text:{file}@3").types == ("<eos>", "<unk>", "cat")
    assert text.facts["source"] == "a@b.txt"


def test_a_home_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "mine", "")
    assert len(load_dataset("text:~/mine").valid) == 4


@pytest.mark.parametrize(
    ("broken", "error", "message"),
    [
        (("train.txt", None), FileNotFoundError, r"has no train.txt; a text in a folder is train"),
        (("test.txt", b""), ValueError, r"test.txt has no words"),
        (("valid.txt", b" \n\n"), ValueError, r"valid.txt has no words"),
        (("train.txt", b"ab \xff"), ValueError, r"train.txt is not UTF-8: .* at byte 3"),
    ],
)
def test_damaged_folders_are_refused(tmp_path, broken, error, message):
    name, content = broken
    write(tmp_path, "")
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=message):
        load_dataset(f"text:{tmp_path}")


def test_a_folder_is_named_by_one_prefix(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"has no train.txt, no valid.txt, no test.txt; a"):
        load_dataset(f"text:{tmp_path}")
    write(tmp_path, "", valid="cat")
    assert words(load_dataset(f"text:{tmp_path}@9"), "valid") == "cat <eos>"
    write(tmp_path, "ptb.")
    (tmp_path / "ptb.test.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no ptb.test.txt; "):
        load_dataset(f"text:{tmp_path}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has no words"),
        (b"\n \n", "has no words"),
        (b"One sentence.", "too short .* its 1 leave none for valid and test"),
        (b"A b c d e f g h i. J k.", "its 2 leave none for valid"),
        (b"caf\xe9", "is not UTF-8: unexpected end of data at byte 3"),
    ],
)
def test_unfit_plain_texts_are_refused(tmp_path, content, message):
    file = tmp_path / "mine.txt"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=f"{file} .*{message}"):
        load_dataset(f"text:{file}")


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        load_dataset(f"text:{tmp_path}/none")
    assert str(caught.value) == (
        f"text:{tmp_path}/none: there is no folder or file {tmp_path}/none"
    )
    with pytest.raises(FileNotFoundError, match="none@5k; only digits after the last @"):
        load_dataset(f"text:{tmp_path}/none@5k")


# -- vocabulary ------------------------------------------------------------------------------------

TOKENS = st.lists(st.sampled_from(["<eos>", "<unk>", *"abcdefg"]), max_size=30)


@given(st.tuples(TOKENS, TOKENS, TOKENS), st.integers(3, 12) | st.none())
def test_the_most_frequent_words_are_kept(parts, limit):
    parts = [["a", *part] for part in parts]
    text = make_text("made", parts, limit, {})
    candidates = {word for part in (parts if limit is None else parts[:1]) for word in part}
    candidates -= {"<eos>", "<unk>"}
    kept = set(text.types) - {"<eos>", "<unk>"}
    assert text.types[:2] == ("<eos>", "<unk>")
    assert len(text.types) == len(set(text.types)) == text.classes
    assert len(kept) == (len(candidates) if limit is None else min(len(candidates), limit - 2))
    assert kept <= candidates
    counts = Counter(parts[0])
    ranks = [(-counts[word], word) for word in text.types[2:]]
    assert ranks == sorted(ranks)
    assert all((-counts[word], word) > ranks[-1] for word in candidates - kept)
    for name, tokens in zip(("train", "valid", "test"), parts, strict=True):
        numbers = getattr(text, name)
        expected = [word if word in text.types else "<unk>" for word in tokens]
        assert [text.types[number] for number in numbers] == expected
        assert text.facts[f"{name}_tokens"] == str(len(tokens))
        assert text.facts[f"{name}_unknown"] == str(expected.count("<unk>"))
        written = np.array(numbers.tolist(), "<i8").tobytes()
        assert text.facts[f"{name}_sha256"] == hashlib.sha256(written).hexdigest()
    assert text.facts["types"] == str(len(text.types))
    lines = "\n".join(" ".join(part) for part in parts) + "\n"
    assert text.facts["text_sha256"] == hashlib.sha256(lines.encode()).hexdigest()


def test_a_text_is_what_it_was_made_of():
    text = make_text("made", [["b", "<eos>"], ["b"], ["a", "b"]], None, {"source": "here"})
    assert text.facts["source"] == "here"
    assert torch.equal(text.test_labels, text.test)
    assert text.end_of_sentence == 0
    moved = text.to("meta")
    assert {moved.train.device.type, moved.valid.device.type, moved.test.device.type} == {"meta"}
    assert (moved.name, moved.types, moved.facts) == (text.name, text.types, text.facts)
    for part in range(3):
        parts = [["a"], ["a"], ["a"]]
        parts[part] = ["<eos>"] * part
        name = ("train", "valid", "test")[part]
        with pytest.raises(ValueError, match=f"made: the part {name} has no words"):
            make_text("made", parts, None, {})
