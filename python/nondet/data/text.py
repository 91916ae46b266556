"""The type of all texts, and the choice of a vocabulary."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from nondet.data.digest import Content, Digested
from nondet.defaults import plain_defaults

END = "<eos>"
UNKNOWN = "<unk>"
PARTS = ("train", "valid", "test")


@dataclass(frozen=True)
class TextDataset(Digested):
    """A text in memory, in three parts, on the same device.

    Attributes:
        name: The name of the data set.
        types: The vocabulary. The number of a word is its index. END (of a sentence) and UNKNOWN
            (all other words) are always among the words.
        train: (tokens,) int64, numbers of words; begins with a sentence.
        valid: As train.
        test: As train.
        facts: Facts that are recorded with every run, such as hashes of the text.
    """

    name: str
    types: tuple[str, ...]
    train: torch.Tensor
    valid: torch.Tensor
    test: torch.Tensor
    facts: Mapping[str, str]

    @property
    def classes(self) -> int:
        """The size of the vocabulary."""
        return len(self.types)

    @property
    def test_labels(self) -> torch.Tensor:
        """The tokens to predict, (test tokens,) int64; END precedes the first."""
        return self.test

    @property
    def end_of_sentence(self) -> int:
        """The number of the word END."""
        return self.types.index(END)

    def to(self, device: str | torch.device) -> "TextDataset":
        """Return the text on another device."""
        parts = {part: getattr(self, part).to(device) for part in PARTS}
        return replace(self, **parts)._with_digest(self.sha256)

    def _contents(self) -> Mapping[str, Content]:
        return {name: getattr(self, name) for name in ("types", *PARTS)}


@plain_defaults()
def make_text(
    name: str, parts: Sequence[Sequence[str]], vocabulary: int | None, facts: Mapping[str, str]
) -> TextDataset:
    """Make a text of its tokens.

    parts: the tokens of PARTS.
    vocabulary: the largest size of the vocabulary, with END and UNKNOWN. It has the most frequent
        words of the training part; other words become UNKNOWN. None: all words of all parts. The
        order is END, UNKNOWN, then by falling frequency in the training part, ties by code points.
    facts: facts to record. Added are "types", the size of the vocabulary; of each part the number
        of tokens, the number of UNKNOWN among them, and the SHA-256 of its numbers as little-endian
        int64; and "text_sha256", of the original tokens in UTF-8, joined by spaces, one line per
        part.

    Raises ValueError for a part without a word.
    """
    for part, tokens in zip(PARTS, parts, strict=True):
        if all(token == END for token in tokens):
            raise ValueError(f"{name}: the part {part} has no words")
    counts = Counter(parts[0])
    candidates = set(counts) if vocabulary is not None else set().union(*parts)
    ranked = sorted(candidates - {END, UNKNOWN}, key=lambda word: (-counts[word], word))
    words = (END, UNKNOWN, *ranked)[:vocabulary]
    numbers = {word: number for number, word in enumerate(words)}
    unknown = numbers[UNKNOWN]
    all_facts = {**facts, "types": str(len(words)), "text_sha256": _text_sha256(parts)}
    tensors = []
    for part, tokens in zip(PARTS, parts, strict=True):
        values = np.fromiter((numbers.get(token, unknown) for token in tokens), "<i8", len(tokens))
        tensors.append(torch.from_numpy(values.astype(np.int64)))
        all_facts |= {
            f"{part}_tokens": str(len(tokens)),
            f"{part}_unknown": str(np.count_nonzero(values == unknown)),
            f"{part}_sha256": hashlib.sha256(values.tobytes()).hexdigest(),
        }
    train, valid, test = tensors
    return TextDataset(name, words, train, valid, test, all_facts)


def _text_sha256(parts: Sequence[Sequence[str]]) -> str:
    digest = hashlib.sha256()
    for tokens in parts:
        digest.update((" ".join(tokens) + "\n").encode())
    return digest.hexdigest()
