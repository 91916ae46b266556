"""Plain text cut into sentences of tokens, and these into three parts."""

import re
from collections.abc import Iterator, Sequence

from nondet.data.text import END

NUMBER = "N"
_ENDS = (8, 9)
"""In tenths of the tokens: where training ends, and where validation."""

_PARAGRAPHS = re.compile(r"\n\s*\n")
_TOKEN = re.compile(
    r"(?:[^\W\d_]\.){2,}"  # e.g.
    r"|(?P<number>(?:0[xob][0-9a-f_]+|\d+(?:[.,_]\d+)*(?:e[+-]?\d+)?j?)(?!\w))"
    r"|\w+(?:[-'’][^\W\d_]\w*)*"  # noqa: RUF001 (word, don't, built-in)
    r"|([.*=<>/-])\2+"
    r"|[^\w\s]"
)


def sentences_of(paragraph: str) -> list[list[str]]:
    """A paragraph's sentences, each a list of tokens with END for its last.

    Words are lower-cased and keep hyphens and apostrophes between letters; "e.g." is one. A number
    becomes NUMBER, as in the Penn Treebank. Any other character is a token of its own, or together
    with those after it that are the same, where it is one of .*=<>/- as in "**". A sentence ends
    with its paragraph, and where white space follows a ".", "!" or "?", but not after a number that
    begins it, as in a list. The full stop itself is left out, as in Penn Treebank format.
    """
    text = paragraph.lower()
    found: list[list[str]] = []
    sentence: list[str] = []
    for match in _TOKEN.finditer(text):
        token = NUMBER if match["number"] else match[0]
        ends = token in (".", "!", "?") and sentence not in ([], [NUMBER])
        ends = ends and (match.end() == len(text) or text[match.end()].isspace())
        if not (ends and token == "."):
            sentence.append(token)
        if ends:
            found.append([*sentence, END])
            sentence = []
    if sentence:
        found.append([*sentence, END])
    return found


def paragraphs_of(text: str) -> Iterator[list[list[str]]]:
    """The sentences of each paragraph that has any; paragraphs are separated by empty lines."""
    for paragraph in _PARAGRAPHS.split(text):
        sentences = sentences_of(paragraph)
        if sentences:
            yield sentences


def split_sentences(sentences: Sequence[list[str]]) -> tuple[list[str], list[str], list[str]]:
    """Training, validation and test tokens: the first 80% of the text, the next and the last 10%. A
    sentence belongs where its first token lies.
    """
    total = sum(map(len, sentences))
    parts: tuple[list[str], list[str], list[str]] = ([], [], [])
    begin = 0
    for sentence in sentences:
        parts[sum(10 * begin >= end * total for end in _ENDS)].extend(sentence)
        begin += len(sentence)
    return parts
