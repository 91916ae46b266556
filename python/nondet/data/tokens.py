"""Cuts plain text into sentences of tokens, and splits sentences into three parts."""

import re
from collections.abc import Iterator, Sequence

from nondet.data.text import END

NUMBER = "N"
_ENDS = (8, 9)
"""The ends of the training and the validation part, in tenths of all tokens."""

_PARAGRAPHS = re.compile(r"\n\s*\n")
_TOKEN = re.compile(
    r"(?:[^\W\d_]\.){2,}"  # e.g.
    r"|(?P<number>(?:0[xob][0-9a-f_]+|\d+(?:[.,_]\d+)*(?:e[+-]?\d+)?j?)(?!\w))"
    r"|\w+(?:[-'’][^\W\d_]\w*)*"  # noqa: RUF001 (word, don't, built-in)
    r"|([.*=<>/-])\2+"
    r"|[^\w\s]"
)


def sentences_of(paragraph: str) -> list[list[str]]:
    """Return the sentences of a paragraph, each a list of tokens that ends with END.

    Words are lower-cased and keep hyphens and apostrophes between letters; "e.g." is a word. A
    number becomes NUMBER, as in the Penn Treebank. Every other character is a token, but equal
    characters among .*=<>/- that follow each other are one token, such as "**".

    A sentence ends with its paragraph, and at ".", "!" or "?" before white space, except after a
    number that begins it, as in a list. The full stop is left out, as in Penn Treebank format.
    """
    text = paragraph.lower()
    sentences: list[list[str]] = []
    sentence: list[str] = []
    for match in _TOKEN.finditer(text):
        token = NUMBER if match["number"] else match[0]
        ends = token in (".", "!", "?") and sentence not in ([], [NUMBER])
        ends = ends and (match.end() == len(text) or text[match.end()].isspace())
        if not (ends and token == "."):
            sentence.append(token)
        if ends:
            sentences.append([*sentence, END])
            sentence = []
    if sentence:
        sentences.append([*sentence, END])
    return sentences


def paragraphs_of(text: str) -> Iterator[list[list[str]]]:
    """Yield the sentences of each paragraph that has any; empty lines separate paragraphs."""
    for paragraph in _PARAGRAPHS.split(text):
        sentences = sentences_of(paragraph)
        if sentences:
            yield sentences


def split_sentences(sentences: Sequence[list[str]]) -> tuple[list[str], list[str], list[str]]:
    """Return the training, validation and test tokens: 80%, 10% and 10% of the text, in order.

    A sentence belongs to the part in which its first token lies.
    """
    total = sum(map(len, sentences))
    parts: tuple[list[str], list[str], list[str]] = ([], [], [])
    begin = 0
    for sentence in sentences:
        parts[sum(10 * begin >= end * total for end in _ENDS)].extend(sentence)
        begin += len(sentence)
    return parts
