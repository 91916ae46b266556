"""What CPython says of its own language in `help()`: prose that every Python brings, no download.

Source: `pydoc_data.topics`, made from the Python Language Reference and the Library Reference,
licensed as Python is.
"""

import platform
import re

from nondet.data.text import TextDataset, make_text
from nondet.data.tokens import paragraphs_of, split_sentences

DEFAULT_TYPES = 2000

_TABLE = re.compile(r"[+|].*[+|]")
_RULE = re.compile(r"\W{4,}")


def load_pydoc(name: str, types: int | None) -> TextDataset:
    """The topics in the order of their names, as one text, split 80/10/10 (`split_sentences`).

    Topics repeat whole paragraphs of others, about a fifth of all tokens: only the first of equal
    paragraphs is kept, so that none is trained on and tested on. Tables and the lines under
    headings are left out. The text depends on the version of Python, which is among its facts.
    types: DEFAULT_TYPES where None. Raises ImportError for a Python built without the topics.
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
    return make_text(name, split_sentences(sentences), types or DEFAULT_TYPES, facts)


def _prose(topic: str) -> str:
    """A topic with empty lines in place of tables and of lines of punctuation."""
    return "\n".join("" if _is_drawn(line.strip()) else line for line in topic.split("\n"))


def _is_drawn(line: str) -> bool:
    return _TABLE.fullmatch(line) is not None or _RULE.fullmatch(line) is not None
