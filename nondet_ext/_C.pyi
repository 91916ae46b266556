from collections.abc import Callable, Iterable, Sequence
from types import CodeType, FrameType, ModuleType
from typing import Any

import torch

BUILD: dict[str, str]

class DType:
    float64: DType
    float32: DType
    float16: DType
    bfloat16: DType

class Order:
    fixed: Order
    exact: Order
    seeded: Order
    atomic: Order

class DefaultFloatMode:
    def __enter__(self) -> None: ...
    def __exit__(self, *error: object) -> None: ...

class _Cpu(ModuleType):
    def available_isas(self) -> list[str]: ...
    def current_isa(self) -> str: ...
    def set_isa(self, name: str) -> None: ...
    def use_team(self, library: str) -> bool: ...
    def sum(
        self,
        *,
        dtype: DType,
        x: int,
        kept_sizes: list[int],
        kept_strides: list[int],
        reduced_sizes: list[int],
        reduced_strides: list[int],
        out: int,
        divisor: int,
        order: Order,
        key: Sequence[int],
        threads: int,
    ) -> None: ...
    def dot(
        self,
        *,
        dtype: DType,
        a: int,
        b: int,
        n: int,
        out: int,
        order: Order,
        key: Sequence[int],
        threads: int,
    ) -> None: ...
    def segment_sum(
        self,
        *,
        dtype: DType,
        x: int,
        offsets: int,
        segments: int,
        columns: int,
        out: int,
        order: Order,
        key: Sequence[int],
        threads: int,
    ) -> None: ...
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
    def word_order(self, *, words: int, rows: int, n: int, out: int, threads: int) -> None: ...
    def index_add(
        self,
        *,
        dtype: DType,
        out: int,
        index: int,
        source: int,
        outer: int,
        rows: int,
        n: int,
        inner: int,
        order: Order,
        key: Sequence[int],
        threads: int,
    ) -> int: ...
    def external_count(
        self,
        *,
        dtype: DType,
        wide: bool,
        root: int,
        codes: int,
        leaves: int,
        x: int,
        n: int,
        slots: int,
    ) -> int: ...
    def external_finish(
        self, *, wide: bool, leaves: int, nodes: int, below: int, total: int
    ) -> None: ...
    def external_classify(
        self,
        *,
        dtype: DType,
        wide: bool,
        root: int,
        codes: int,
        leaves: int,
        x: int,
        n: int,
        out: int,
        group: int,
        members: int,
    ) -> None: ...
    def external_scatter(
        self, *, dtype: DType, x: int, n: int, group: int, cursor: int, keys: int
    ) -> None: ...
    def external_gather(
        self, *, wide: bool, n: int, group: int, cursor: int, ranks: int, out: int
    ) -> None: ...
    def external_ranks(
        self,
        *,
        dtype: DType,
        wide: bool,
        keys: int,
        m: int,
        items: int,
        starts: int,
        below: int,
        parts: int,
        total: int,
    ) -> None: ...
    def pair_agreements(
        self,
        *,
        itemsize: int,
        predictions: int,
        models: int,
        examples: int,
        offsets: int,
        segments: int,
        out: int,
        threads: int,
    ) -> None: ...
    def pair_correct(
        self,
        *,
        dtype: DType,
        x: int,
        models: int,
        examples: int,
        classes: int,
        strides: list[int],
        labels: int,
        probabilities: bool,
        counts: int,
        threads: int,
    ) -> None: ...
    def pair_logs(
        self,
        *,
        dtype: DType,
        x: int,
        models: int,
        examples: int,
        classes: int,
        strides: list[int],
        labels: int,
        probabilities: bool,
        logs: int,
        threads: int,
    ) -> None: ...
    def forget_mult(
        self,
        *,
        dtype: DType,
        z: int,
        f: int,
        o: int,
        initial: int,
        steps: int,
        columns: int,
        h: int,
        last: int,
        threads: int,
    ) -> None: ...
    def forget_mult_backward(
        self,
        *,
        dtype: DType,
        z: int,
        f: int,
        o: int,
        initial: int,
        grad_h: int,
        grad_last: int,
        steps: int,
        columns: int,
        grad_z: int,
        grad_f: int,
        grad_o: int,
        grad_initial: int,
        threads: int,
    ) -> None: ...
    def fingerprint(self, *, head: list[int], x: int, bytes: int, threads: int) -> int: ...
    def integer_products(
        self,
        *,
        left: int,
        left_rows: int,
        left_stride: int,
        right: int,
        right_rows: int,
        right_stride: int,
        n: int,
        width: int,
        out: int,
        squares: int,
        limbs: int,
        threads: int,
    ) -> None: ...
    def ranks(
        self,
        *,
        dtype: DType,
        x: int,
        rows: int,
        n: int,
        out: int,
        centred: bool,
        threads: int,
    ) -> None: ...
    def integer_ranks(
        self, *, x: int, rows: int, n: int, out: int, centred: bool, threads: int
    ) -> None: ...

class _Direct(ModuleType):
    def connect(
        self,
        *,
        capsule: object,
        tensor: type,
        parameter: type,
        quiet: tuple[Callable[[], object], ...],
        function_modes: Callable[[], bool],
        has_watching_mode: Callable[[], bool],
        grad_enabled: Callable[[], bool],
        forward_level: dict[str, Any],
        threads: Callable[[], int],
    ) -> None: ...
    def pause(self, paused: bool, /) -> None: ...
    def direct(
        self, arguments: tuple[Any, ...], tensors: tuple[int, ...], lists: tuple[int, ...], /
    ) -> bool: ...
    def sum(
        self, x: object, dim: object, keepdim: object, order: object, seed: object, out: object, /
    ) -> torch.Tensor | None: ...
    def mean(
        self, x: object, dim: object, keepdim: object, order: object, seed: object, out: object, /
    ) -> torch.Tensor | None: ...
    def fingerprint(self, x: object, numbers: dict[torch.dtype, int], /) -> int | None: ...
    def fingerprints(
        self,
        tensors: Iterable[object],
        numbers: dict[torch.dtype, int],
        threads: int | None,
        others: list[int],
        /,
    ) -> list[Any]: ...
    def row_fingerprints(
        self, x: object, numbers: dict[torch.dtype, int], threads: int | None, /
    ) -> list[int] | None: ...

# `_C.cuda`, in builds with CUDA, has the same functions with `stream` in place of `threads`;
# ulp_distance takes `nan_met`, the edits take `sorted`, `order`, `fault` in place of `idx`, and
# fingerprint writes its digest to `out`. The sums take a `workspace` of as many bytes as
# sum_workspace, dot_workspace or segment_sum_workspace return; segment_sum and its
# workspace also take the number of `rows`.
# In place of index_add there are part_order, index_add_sorted and index_add_atomic.
# ranks takes sorted integer `keys` of a `width`, their `positions` and bounds; integer_ranks is the
# CPU's alone.
cpu: _Cpu

class trace:  # noqa: N801
    class Value:
        kind: int
        owner: Any
        serial: int
        slot: int
        version: int
        digest: int | None
        def __init__(
            self,
            kind: int,
            owner: object,
            serial: int,
            slot: int,
            version: int,
            digest: int | None = None,
            /,
        ) -> None: ...
        def seen_at(self, version: int, /) -> trace.Value: ...

    class Memory:
        weak: Any
        values: dict[Any, trace.Value]
        device: str
        name: str
        alignment: int
        tag: int
        hashed: bool
        shared: bool
        blank: bool

    class Position:
        entries: list[int]
        serial: int
        begin: int
        before: int
        def recent(self, value: trace.Value, /) -> int | None: ...

    class ModuleCall:
        name: int
        module: torch.nn.Module
        def __init__(self, name: int, training: object, module: object, /) -> None: ...

    class Places:
        def __init__(
            self,
            calls: list[trace.ModuleCall],
            kind_of: Callable[[str], int],
            add: Callable[[FrameType], int],
            name_parameter: Callable[[torch.Tensor], int],
            sequence: Callable[[], int],
            memories: dict[int, trace.Memory],
            /,
        ) -> None: ...
        def find(self, frame: FrameType | None, node: object, /) -> tuple[Any, ...]: ...
        def backward(self, frame: FrameType | None, /) -> tuple[int, int, int, int]: ...
        def forget(self, first: int, count: int, /) -> None: ...

    class Watch:
        off: bool
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = ..., kwargs: Any = ...
        ) -> Any: ...
        def connect(self, links: dict[str, Any], short_way: bool, part: int, /) -> None: ...

    @staticmethod
    def fingerprint_small(
        tensor: torch.Tensor, numbers: dict[torch.dtype, int], /
    ) -> int | None: ...
    @staticmethod
    def mark(code: CodeType, kind: int, /) -> None: ...
    @staticmethod
    def alignment_of(address: int) -> int: ...

direct: _Direct
