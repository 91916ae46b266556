"""Loads texts from files: the Penn Treebank, folders in its format, and plain texts."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from nondet.data.text import END, PARTS, TextDataset, make_text
from nondet.data.tokens import paragraphs_of, split_sentences

DEFAULT_VOCABULARY = 10_000

PUBLISHED_MD5 = {
    "ptb.train.txt": "f26c4b92c5fdc7b3f8c7cdcb991d8420",
    "ptb.valid.txt": "aa0affc06ff7c36e977d7cd49e3839bf",
    "ptb.test.txt": "8b80168b89c18661a38ef683c0dc3721",
}
"""MD5 sums of the files of T. Mikolov's preprocessed Penn Treebank."""
PUBLISHED_COUNTS = {
    "types": "10000",
    "train_tokens": "929589",
    "valid_tokens": "73760",
    "test_tokens": "82430",
}


def load_penn_treebank(folder: Path) -> TextDataset:
    """Load the Penn Treebank as T. Mikolov preprocessed it (Mikolov et al. 2010).

    folder: holds ptb.train.txt, ptb.valid.txt and ptb.test.txt. The vocabulary has all words of all
    three files. The fact "published" says whether these are the published files.

    Raises FileNotFoundError if a file is missing, ValueError if it is not UTF-8 or has no words.
    """
    files = _files(folder, "ptb.")
    missing = _missing(files)
    if missing:
        raise FileNotFoundError(
            f"penn-treebank is not in {folder}: no {', no '.join(missing)}. It is never "
            "downloaded: get the three files of the preprocessed Penn Treebank (one sentence per "
            "line, a vocabulary of 10,000 words) and put them there; the variable NONDET_DATA "
            f"names another folder than {folder.parent}"
        )
    text = make_text("penn-treebank", [_read_lines(file) for file in files], None, _sources(files))
    return replace(text, facts={**text.facts, "published": _published(files, text.facts)})


def load_text(name: str, path: Path, vocabulary: int | None) -> TextDataset:
    """Load a text of the user.

    path: a folder in Penn Treebank format, or a plain text; all files in UTF-8. The folder has
        train.txt, valid.txt and test.txt, or the same names after "ptb."; white space separates
        tokens, and every line ends with END. A plain text is cut into tokens (`sentences_of`) and
        split 80/10/10 (`split_sentences`).
    vocabulary: the largest size of the vocabulary; DEFAULT_VOCABULARY if None.

    Raises FileNotFoundError if the path or a file is missing, ValueError if a file is not UTF-8, or
    if a file or a part has no words.
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
            "; only digits after the last @ are the size of the vocabulary"
            if "@" in path.name
            else ""
        )
        raise FileNotFoundError(f"{name}: there is no folder or file {path}{hint}")
    return make_text(name, parts, vocabulary or DEFAULT_VOCABULARY, _sources(files))


def _files(folder: Path, prefix: str) -> list[Path]:
    return [folder / f"{prefix}{part}.txt" for part in PARTS]


def _missing(files: Sequence[Path]) -> list[str]:
    return [file.name for file in files if not file.is_file()]


def _sources(files: Sequence[Path]) -> dict[str, str]:
    return {"source": ", ".join(file.name for file in files)}


def _read_lines(file: Path) -> list[str]:
    """Return the tokens of a file in Penn Treebank format."""
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
    """Return "yes", or "no" and how the files differ from the published ones."""
    differences = [
        f"{name} {facts[name]} instead of {count}"
        for name, count in PUBLISHED_COUNTS.items()
        if facts[name] != count
    ]
    if differences:
        return f"no: {', '.join(differences)}"
    sums = {
        file.name: hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()
        for file in files
    }
    changed = [name for name, md5 in PUBLISHED_MD5.items() if sums[name] != md5]
    return f"no: as many tokens, but other bytes in {', '.join(changed)}" if changed else "yes"
