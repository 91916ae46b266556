"""The SHA-256 of everything that a training or an evaluation reads of a data set."""

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, Protocol, Self

import torch


class Streamed(Protocol):
    """What is hashed like a tensor, but does not exist as one."""

    @property
    def shape(self) -> torch.Size:
        """The shape of that tensor."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of that tensor."""
        ...

    def parts(self) -> Iterator[torch.Tensor]:
        """Yield that tensor in parts along its first dimension."""
        ...


Content = torch.Tensor | Streamed | int | tuple[str, ...]

_CACHED = "_sha256"


class Digested(ABC):
    """A data set with a digest, which is computed when it is first asked for."""

    @abstractmethod
    def _contents(self) -> Mapping[str, Content]:
        """Return all that a training or an evaluation reads of the data set, by name."""

    @property
    def sha256(self) -> str:
        """The SHA-256, in hexadecimal, of all that a training or an evaluation reads, but not of
        the name. Equal contents have equal digests on every device and in every memory layout.

        It is of what is in memory, and it is computed again once torch has changed a tensor in
        place. Changes through another library that shares the memory, such as NumPy, are not
        noticed.
        """
        contents = self._contents()
        found: _Cached | None = vars(self).get(_CACHED)
        if found is None or not found.is_of(contents):
            found = _Cached(sha256_of(type(self).__name__, contents), contents)
            object.__setattr__(self, _CACHED, found)
        return found.sha256

    def _with_digest(self, sha256: str) -> Self:
        """Return this object with its digest, so that it is not computed again."""
        object.__setattr__(self, _CACHED, _Cached(sha256, self._contents()))
        return self

    def __getstate__(self) -> dict[str, Any]:
        # A copy has tensors of its own, whose versions start anew.
        return {name: value for name, value in vars(self).items() if name != _CACHED}


def sha256_of(kind: str, contents: Mapping[str, Content]) -> str:
    """Return the SHA-256, in hexadecimal, of values by name: tensors, integers or lists of words.

    Different contents give different streams of bytes, because every part has its length before it.
    Tensors, and what is streamed like one, count with dtype, shape and elements in row-major order.
    """
    digest = hashlib.sha256()

    def add(part: bytes | memoryview) -> None:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)

    def add_words(*words: str) -> None:
        add(len(words).to_bytes(8, "little"))
        for word in words:
            # A text may hold what UTF-8 does not, such as half a surrogate pair.
            add(word.encode(errors="surrogatepass"))

    add_words("nondet data 1", kind)
    for name, value in contents.items():
        if isinstance(value, int):
            add_words(name, "integer", str(value))
        elif isinstance(value, tuple):
            add_words(name, "words", *value)
        else:
            add_words(name, "tensor", str(value.dtype), *map(str, value.shape))
            length = math.prod(value.shape) * value.dtype.itemsize
            digest.update(length.to_bytes(8, "little"))
            parts = [value] if isinstance(value, torch.Tensor) else value.parts()
            for part in parts:
                digest.update(_bytes(part))
    return digest.hexdigest()


def _bytes(tensor: torch.Tensor) -> memoryview:
    dense = tensor.detach().cpu().contiguous()
    # A contiguous tensor of one element may have any strides, which `view` refuses.
    flat = dense.as_strided((dense.numel(),), (1,))
    return flat.view(torch.uint8).numpy().data


class _Cached:
    """A digest, and the very objects that it is of."""

    def __init__(self, sha256: str, contents: Mapping[str, Content]) -> None:
        self.sha256 = sha256
        self._values = tuple(contents.values())
        self._versions = [_version(value) for value in self._values]

    def is_of(self, contents: Mapping[str, Content]) -> bool:
        """Return True if these are the same objects, and torch has changed none of them since."""
        pairs = zip(self._values, contents.values(), strict=True)
        now = [_version(value) for value in self._values]
        return all(a is b for a, b in pairs) and None not in now and now == self._versions


def _version(value: Content) -> tuple[int, int] | None:
    """Return what torch changes when it changes a tensor: the number of changes in place, and the
    address. None if it does not count them.
    """
    if not isinstance(value, torch.Tensor):
        return 0, 0
    return None if value.is_inference() else (value._version, value.data_ptr())
