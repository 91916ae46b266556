from types import ModuleType

BUILD: dict[str, str]

class DType:
    float64: DType
    float32: DType
    float16: DType
    bfloat16: DType

class _Cpu(ModuleType):
    def available_paths(self) -> list[str]: ...
    def current_path(self) -> str: ...
    def set_path(self, name: str) -> None: ...
    def neighbor(
        self, *, dtype: DType, x: int, out: int, n: int, up: bool, threads: int
    ) -> None: ...
    def spacing(self, *, dtype: DType, x: int, out: int, n: int, threads: int) -> None: ...
    def ulp_distance(
        self, *, dtype: DType, a: int, b: int, out: int, n: int, threads: int
    ) -> bool: ...
    def flip_ulp(
        self,
        *,
        dtype: DType,
        param: int,
        sizes: list[int],
        strides: list[int],
        numel: int,
        idx: int,
        n: int,
        directions: int,
        direction: int,
        ulps: int,
    ) -> tuple[int, int]: ...
    def flip_bit(
        self,
        *,
        dtype: DType,
        param: int,
        sizes: list[int],
        strides: list[int],
        numel: int,
        idx: int,
        n: int,
        bits: int,
        bit: int,
    ) -> tuple[int, int]: ...
    def philox_bits(
        self,
        *,
        seed: int,
        stream_key: int,
        counters: int,
        rows: int,
        first: int,
        n: int,
        out: int,
        threads: int,
    ) -> None: ...
    def philox_uniform(
        self,
        *,
        dtype: DType,
        seed: int,
        stream_key: int,
        counters: int,
        rows: int,
        first: int,
        n: int,
        out: int,
        threads: int,
    ) -> None: ...
    def philox_normal(
        self,
        *,
        dtype: DType,
        seed: int,
        stream_key: int,
        counters: int,
        rows: int,
        first: int,
        n: int,
        out: int,
        threads: int,
    ) -> None: ...
    def philox_randint(
        self,
        *,
        seed: int,
        stream_key: int,
        counters: int,
        rows: int,
        first: int,
        n: int,
        low: int,
        range: int,
        out: int,
        threads: int,
    ) -> None: ...

# `_C.cuda`, in builds with CUDA, has the same functions with `stream` in place of `threads`;
# ulp_distance takes `nan_met`, and the edits take `sorted`, `order`, `fault` in place of `idx`.
cpu: _Cpu
