"""Texts in files: the Penn Treebank, folders in its format, and any plain text."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from nondet.data.text import END, PARTS, TextDataset, make_text
from nondet.data.tokens import paragraphs_of, split_sentences

DEFAULT_TYPES = 10_000

_PUBLISHED_MD5 = {
    "ptb.train.txt": "f26c4b92c5fdc7b3f8c7cdcb991d8420",
    "ptb.valid.txt": "aa0affc06ff7c36e977d7cd49e3839bf",
    "ptb.test.txt": "8b80168b89c18661a38ef683c0dc3721",
}
"""Of the files of T. Mikolov's preprocessed Penn Treebank, as public code checks them."""
_PUBLISHED_COUNTS = {
    "types": "10000",
    "train_tokens": "929589",
    "valid_tokens": "73760",
    "test_tokens": "82430",
}


def load_penn_treebank(folder: Path) -> TextDataset:
    """The Penn Treebank as T. Mikolov preprocessed it (Mikolov et al. 2010): the files
    ptb.train.txt, ptb.valid.txt and ptb.test.txt in `folder`. Its types are those of all three.

    The fact "published" says whether these are the published files. Raises FileNotFoundError where
    one is missing, ValueError as `load_text` for what is in them.
    """
    files = _files(folder, "ptb.")
    missing = _missing(files)
    if missing:
        raise FileNotFoundError(
            f"penn-treebank is not in {folder}: no {', no '.join(missing)}. It is never "
            "downloaded: get the three files of the preprocessed Penn Treebank (a sentence a line, "
            "10,000 word types) and put them there; the variable NONDET_DATA names another folder "
            f"than {folder.parent}"
        )
    text = make_text("penn-treebank", [_read_lines(file) for file in files], None, _sources(files))
    return replace(text, facts={**text.facts, "published": _published(files, text.facts)})


def load_text(name: str, path: Path, types: int | None) -> TextDataset:
    """A text of the user's own, cut to so many types (DEFAULT_TYPES where None).

    path: a folder in Penn Treebank format, which has the files ptb.train.txt, ptb.valid.txt and
    ptb.test.txt, or train.txt, valid.txt and test.txt: tokens separated by white space, an END for
    every end of a line. Or a plain text, which is cut into tokens (`sentences_of`) and split
    80/10/10 (`split_sentences`). All in UTF-8.
    Raises FileNotFoundError for a path or a file that is not there, ValueError for a file that is
    not UTF-8, and for one or for a part without a word.
    """
    if path.is_dir():
        files = _files(path, "ptb.")
        if len(_missing(files)) == len(files):
            files = _files(path, "")
        missing = _missing(files)
        if missing:
            raise FileNotFoundError(
                f"the folder {path} has no {', no '.join(missing)}; a text in a folder is "
                "train.txt, valid.txt and test.txt, or ptb.train.txt, ptb.valid.txt and "
                "ptb.test.txt"
            )
        parts = [_read_lines(file) for file in files]
    elif path.is_file():
        files = [path]
        sentences = [sentence for part in paragraphs_of(_read(path)) for sentence in part]
        if not sentences:
            raise ValueError(f"{path} has no words")
        parts = list(split_sentences(sentences))
        short = [part for part, tokens in zip(PARTS, parts, strict=True) if not tokens]
        if short:
            raise ValueError(
                f"{path} is too short to be split into training, validation and test sentences: "
                f"its {len(sentences)} leave none for {' and '.join(short)}"
            )
    else:
        hint = (
            "; a number of types is what follows the last @ where that is digits alone"
            if "@" in path.name
            else ""
        )
        raise FileNotFoundError(f"{name}: there is no folder or file {path}{hint}")
    return make_text(name, parts, types or DEFAULT_TYPES, _sources(files))


def _files(folder: Path, prefix: str) -> list[Path]:
    return [folder / f"{prefix}{part}.txt" for part in PARTS]


def _missing(files: Sequence[Path]) -> list[str]:
    return [file.name for file in files if not file.is_file()]


def _sources(files: Sequence[Path]) -> dict[str, str]:
    return {"source": ", ".join(file.name for file in files)}


def _read_lines(file: Path) -> list[str]:
    """The tokens of a file in Penn Treebank format."""
    lines = _read(file).removesuffix("\n").split("\n")
    tokens = [token for line in lines for token in (*line.split(), END)]
    if all(token == END for token in tokens):
        raise ValueError(f"{file} has no words")
    return tokens


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not UTF-8: {error.reason} at byte {error.start}") from error


def _published(files: Sequence[Path], facts: Mapping[str, str]) -> str:
    """ "yes", or "no" and in what the files differ from the published ones."""
    other = [
        f"{name} {facts[name]} instead of {count}"
        for name, count in _PUBLISHED_COUNTS.items()
        if facts[name] != count
    ]
    if other:
        return f"no: {', '.join(other)}"
    sums = {
        file.name: hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()
        for file in files
    }
    changed = [name for name, md5 in _PUBLISHED_MD5.items() if sums[name] != md5]
    return f"no: as many tokens, but other bytes in {', '.join(changed)}" if changed else "yes"
