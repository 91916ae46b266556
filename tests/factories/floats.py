"""Bits and values of the four floating-point formats, by NumPy and ml_dtypes only."""

from dataclasses import dataclass

import ml_dtypes
import numpy as np
import torch


@dataclass(frozen=True)
class Format:
    torch_dtype: torch.dtype
    numpy_dtype: type
    uint: type
    torch_int: torch.dtype

    @property
    def width(self) -> int:
        return 8 * np.dtype(self.uint).itemsize

    @property
    def special_bits(self) -> np.ndarray:
        """Return zeros, the smallest and largest subnormals and normals, one, infinities and NaNs,
        each with both signs.
        """
        info = ml_dtypes.finfo(self.numpy_dtype)
        values = [0.0, info.smallest_subnormal, info.tiny, 1.0, 2.0, 3.0, info.max, np.inf, np.nan]
        bits = np.array(values, dtype=self.numpy_dtype).view(self.uint)
        around = np.concatenate([bits, bits[1:-1] - 1, bits[1:-1] + 1]).astype(self.uint)
        sign = self.uint(1 << (self.width - 1))
        payload = np.array([bits[-1] | 1, bits[-2] + 1], dtype=self.uint)
        return np.concatenate([around, around | sign, payload, payload | sign])

    def tensor(self, bits: np.ndarray) -> torch.Tensor:
        signed = np.ascontiguousarray(bits, dtype=self.uint).view(f"i{self.width // 8}")
        return torch.from_numpy(signed.copy()).view(self.torch_dtype)

    def array(self, bits: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(bits, dtype=self.uint).view(self.numpy_dtype)

    def bits(self, tensor: torch.Tensor) -> np.ndarray:
        return tensor.detach().contiguous().view(self.torch_int).numpy().view(self.uint)

    def random_bits(self, rng: np.random.Generator, n: int) -> np.ndarray:
        return rng.integers(0, 2**self.width, n, dtype=self.uint, endpoint=False)


FORMATS = {
    "float64": Format(torch.float64, np.float64, np.uint64, torch.int64),
    "float32": Format(torch.float32, np.float32, np.uint32, torch.int32),
    "float16": Format(torch.float16, np.float16, np.uint16, torch.int16),
    "bfloat16": Format(torch.bfloat16, ml_dtypes.bfloat16, np.uint16, torch.int16),
}


def nextafter(values: np.ndarray, up: bool) -> np.ndarray:
    """Return numpy.nextafter towards an infinity, with the ufunc of the values' dtype."""
    goal = np.array(np.inf if up else -np.inf, dtype=values.dtype)
    with np.errstate(all="ignore"):
        return np.nextafter(values, goal)


def is_nan(values: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):  # ml_dtypes warns of signalling NaNs
        return np.isnan(values)


def assert_same_values(got: np.ndarray, expected: np.ndarray, fmt: Format) -> None:
    """Fail unless the bits are equal; any NaN equals any NaN."""
    got, expected = np.atleast_1d(got), np.atleast_1d(expected)
    got_nan, expected_nan = is_nan(fmt.array(got)), is_nan(expected)
    np.testing.assert_array_equal(got_nan, expected_nan)
    expected_bits = np.ascontiguousarray(expected).view(fmt.uint)
    np.testing.assert_array_equal(got[~got_nan], expected_bits[~got_nan])
