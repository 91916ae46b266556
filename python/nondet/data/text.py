"""The form every text takes, and how its vocabulary is cut."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

END = "<eos>"
UNKNOWN = "<unk>"
PARTS = ("train", "valid", "test")


@dataclass(frozen=True)
class TextDataset:
    """A text in three parts, whole, on one device.

    types: the word types; the number of a type is its place. END (of a sentence) and UNKNOWN (any
    other word) are always among them.
    train, valid, test: (tokens,) int64, numbers of types; each part begins with a sentence
    facts: what is recorded with every run, among it hashes of the text
    """

    name: str
    types: tuple[str, ...]
    train: torch.Tensor
    valid: torch.Tensor
    test: torch.Tensor
    facts: Mapping[str, str]

    @property
    def classes(self) -> int:
        """The number of types."""
        return len(self.types)

    @property
    def test_labels(self) -> torch.Tensor:
        """(test tokens,) int64: each is to be predicted, the first after the end of a sentence."""
        return self.test

    @property
    def end_of_sentence(self) -> int:
        """The number of the type END."""
        return self.types.index(END)

    def to(self, device: str | torch.device) -> "TextDataset":
        """The same text on another device."""
        return replace(self, **{part: getattr(self, part).to(device) for part in PARTS})


def make_text(
    name: str, parts: Sequence[Sequence[str]], types: int | None, facts: Mapping[str, str]
) -> TextDataset:
    """A text of its tokens.

    parts: the tokens of PARTS. types: how many types there are at most, END and UNKNOWN among them;
    the others are the most frequent of the training part, and what is not among them becomes
    UNKNOWN. None: all types of all parts. Types are in the order END, UNKNOWN, then by falling
    number in the training part; equally frequent ones as Python sorts them.
    facts: to which are added: types; of each part the tokens, the UNKNOWN ones among them and the
    SHA-256 of its numbers as little-endian int64; text_sha256, of the tokens before the cut, joined
    by spaces, a line for each part, as UTF-8.
    Raises ValueError for a part without a word.
    """
    for part, tokens in zip(PARTS, parts, strict=True):
        if all(token == END for token in tokens):
            raise ValueError(f"{name}: the part {part} has no words")
    counts = Counter(parts[0])
    offered = set(counts) if types is not None else set().union(*parts)
    found = sorted(offered - {END, UNKNOWN}, key=lambda word: (-counts[word], word))
    known = (END, UNKNOWN, *found)[:types]
    numbers = {word: number for number, word in enumerate(known)}
    unknown = numbers[UNKNOWN]
    described = {**facts, "types": str(len(known)), "text_sha256": _text_sha256(parts)}
    tensors = []
    for part, tokens in zip(PARTS, parts, strict=True):
        values = np.fromiter((numbers.get(one, unknown) for one in tokens), "<i8", len(tokens))
        tensors.append(torch.from_numpy(values.astype(np.int64)))
        described |= {
            f"{part}_tokens": str(len(tokens)),
            f"{part}_unknown": str(np.count_nonzero(values == unknown)),
            f"{part}_sha256": hashlib.sha256(values.tobytes()).hexdigest(),
        }
    train, valid, test = tensors
    return TextDataset(name, known, train, valid, test, described)


def _text_sha256(parts: Sequence[Sequence[str]]) -> str:
    digest = hashlib.sha256()
    for tokens in parts:
        digest.update((" ".join(tokens) + "\n").encode())
    return digest.hexdigest()
