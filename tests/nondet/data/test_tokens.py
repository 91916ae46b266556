"""Tests of the tokens of plain texts and of pydoc, against a second implementation."""

import collections
import hashlib
import platform
import sys
from itertools import chain
from pydoc_data.topics import topics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nondet.data import load_dataset
from nondet.data.pydoc import load_pydoc
from nondet.data.tokens import paragraphs_of, sentences_of, split_sentences
from references.tokens import naive_paragraphs, naive_sentences

TEXTS = st.text(
    st.sampled_from("aenjxob0129_ \n\t.,!?-'’*=<>/()\"ßÉ²٣\u00a0\u2028\u0301"),  # noqa: RUF001
    max_size=40,
)


@pytest.mark.parametrize(
    ("paragraph", "sentences"),
    [
        ("The dog\n  BARKS.", ["the dog barks"]),
        ('It\'s "well-known", e.g. here.', ['it\'s " well-known " , e.g. here']),
        ("Stop! Why? Because.", ["stop !", "why ?", "because"]),
        ("He said: stop! But why?  Be-\ncause.", ["he said : stop !", "but why ?", "be - cause"]),
        ("1. First of 2,000.5 things. Then", ["N . first of N things", "then"]),
        ("0xFF + 1e-5 - 3.14j, 1_000; 2nd x86", ["N + N - N , N ; 2nd x86"]),
        ("f(*a, **b) -> c == d.e ...", ["f ( * a , ** b ) - > c == d . e ..."]),
        ("<eos> and <unk>", ["< eos > and < unk >"]),
        ("A a.b c. d", ["a a . b c", "d"]),
        ("…", ["…"]),
        (". ! I. am 2. you", [". !", "i", "am N", "you"]),
        (" \n\t", []),
    ],
)
def test_sentences_by_hand(paragraph, sentences):
    assert [" ".join(tokens) for tokens in sentences_of(paragraph)] == [
        f"{sentence} <eos>" for sentence in sentences
    ]


def test_paragraphs_end_at_empty_lines():
    paragraphs = paragraphs_of("a b\nc\n \t\nd\n\n\n?\n\n\n")
    assert [" ".join(*sentences) for sentences in paragraphs] == [
        "a b c <eos>",
        "d <eos>",
        "? <eos>",
    ]


@given(TEXTS)
def test_tokens_are_those_of_a_loop_over_characters(text):
    assert sentences_of(text) == naive_sentences(text)
    expected = [naive_sentences(paragraph) for paragraph in naive_paragraphs(text)]
    assert list(paragraphs_of(text)) == [sentences for sentences in expected if sentences]


@given(st.lists(TEXTS, min_size=3, max_size=3))
def test_tokens_written_to_a_folder_are_read_back(tmp_path_factory, texts):
    folder = tmp_path_factory.mktemp("text")
    parts = [["a", "<eos>", *chain(*sentences_of(text))] for text in texts]
    for part, tokens in zip(("train", "valid", "test"), parts, strict=True):
        lines = " ".join(tokens).replace(" <eos> ", "\n").removesuffix(" <eos>")
        (folder / f"{part}.txt").write_text(f"{lines}\n", encoding="utf-8")
    read = load_dataset(f"text:{folder}")
    for part, tokens in zip((read.train, read.valid, read.test), parts, strict=True):
        known = [token if token in parts[0] else "<unk>" for token in tokens]
        assert [read.types[number] for number in part] == known


@given(st.lists(st.integers(1, 9), max_size=40))
def test_parts_are_whole_sentences_in_their_order(lengths):
    sentences = [[f"{n}"] * length for n, length in enumerate(lengths)]
    parts = split_sentences(sentences)
    assert list(chain(*parts)) == list(chain(*sentences))
    total = sum(lengths)
    for part, tokens in enumerate(parts):
        for n in set(map(int, tokens)):
            begins = sum(lengths[:n])
            assert part == (begins >= total * 8 / 10) + (begins >= total * 9 / 10)
            assert tokens.count(f"{n}") == lengths[n]


# -- pydoc -----------------------------------------------------------------------------------------


def is_drawn(line):
    """Return True for a line of a table, and for a line of punctuation, as under a heading."""
    line = line.strip()
    table = len(line) > 1 and {line[0], line[-1]} <= set("+|")
    return table or (len(line) >= 4 and not any(x.isalnum() or x == "_" for x in line))


@pytest.fixture(scope="module")
def prose():
    """The sentences of all topics without repeated paragraphs, and the tokens of the latter."""
    sentences, seen, repeated = [], [], 0
    for _, topic in sorted(topics.items()):
        lines = [" " if is_drawn(line) else line for line in topic.split("\n")]
        for paragraph in naive_paragraphs("\n".join(lines)):
            new = naive_sentences(paragraph)
            if new in seen:
                repeated += sum(map(len, new))
            else:
                seen.append(new)
                sentences += new
    return sentences, repeated


def test_pydoc_is_the_prose_of_the_topics_each_paragraph_once(prose):
    sentences, repeated = prose
    tokens = list(chain(*sentences))
    text = load_dataset("pydoc@1000000")  # nothing is cut
    numbers = [*text.train, *text.valid, *text.test]
    train = set(tokens[: len(text.train)])
    known = [token if token in train else "<unk>" for token in tokens]
    assert [text.types[number] for number in numbers] == known
    assert 0.15 < repeated / (repeated + len(tokens)) < 0.25  # docs/text.md: a fifth


def test_pydoc_has_a_vocabulary_that_can_be_learned():
    text = load_dataset("pydoc")
    assert (text.name, text.classes, text.end_of_sentence) == ("pydoc", 2000, 0)
    total = sum(map(len, (text.train, text.valid, text.test)))
    assert 60_000 < total < 120_000
    for part, share in ((text.train, 0.8), (text.valid, 0.1), (text.test, 0.1)):
        assert abs(len(part) / total - share) < 0.005
        assert part[-1] == 0
    unknown = [float((part == 1).double().mean()) for part in (text.train, text.test)]
    assert 0.01 < unknown[0] < 0.04 < unknown[1] < 0.08
    # Every word occurs at least twice, so that it can be learned.
    counts = collections.Counter(text.train.tolist())
    assert min(counts[number] for number in range(2000)) >= 2
    assert load_dataset("pydoc@50").types == text.types[:50]


def test_facts_identify_the_text_of_pydoc(prose):
    facts, other = load_dataset("pydoc").facts, load_dataset("pydoc@50").facts
    assert facts["python"] == platform.python_version()
    assert (facts["source"], facts["topics"]) == ("pydoc_data.topics", str(len(topics)))
    lines = [" ".join(part) for part in split_sentences(prose[0])]
    written = "".join(f"{line}\n" for line in lines).encode()
    assert facts["text_sha256"] == hashlib.sha256(written).hexdigest() == other["text_sha256"]
    assert facts["test_sha256"] != other["test_sha256"]


def test_a_python_without_topics_is_an_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(ImportError, match=r"text pydoc@9 needs the module pydoc_data\.topics, whi"):
        load_pydoc("pydoc@9", 9)
