"""Loads the topics of Python's `help()` as a text, which needs no download.

Source: `pydoc_data.topics`, generated from the Python Language Reference and the Library Reference,
under the licence of Python.
"""

import platform
import re

from nondet.data.text import TextDataset, make_text
from nondet.data.tokens import paragraphs_of, split_sentences

DEFAULT_VOCABULARY = 2000

_TABLE = re.compile(r"[+|].*[+|]")
_RULE = re.compile(r"\W{4,}")


def load_pydoc(name: str, vocabulary: int | None) -> TextDataset:
    """Load the topics, in the order of their names, as one text, split 80/10/10.

    Topics repeat whole paragraphs of others, about a fifth of all tokens. Only the first of equal
    paragraphs is kept, so that no paragraph is both trained on and tested on. Tables and the lines
    under headings are left out. The text depends on the version of Python, which is among its
    facts.

    vocabulary: the largest size of the vocabulary; DEFAULT_VOCABULARY if None.

    Raises ImportError for a Python without the topics.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise ImportError(
            f"the text {name} needs the module pydoc_data.topics, which belongs to Python's "
            "standard library and is missing in this one: install the whole library, or name "
            "another text"
        ) from error
    seen = set()
    sentences = []
    for topic in sorted(topics):
        for paragraph in paragraphs_of(_prose(topics[topic])):
            key = tuple(map(tuple, paragraph))
            if key not in seen:
                seen.add(key)
                sentences.extend(paragraph)
    version = platform.python_version()
    facts = {"source": "pydoc_data.topics", "python": version, "topics": str(len(topics))}
    return make_text(name, split_sentences(sentences), vocabulary or DEFAULT_VOCABULARY, facts)


def _prose(topic: str) -> str:
    """Replace the tables of a topic, and its lines of punctuation, by empty lines."""
    return "\n".join("" if _is_drawn(line.strip()) else line for line in topic.split("\n"))


def _is_drawn(line: str) -> bool:
    return _TABLE.fullmatch(line) is not None or _RULE.fullmatch(line) is not None
