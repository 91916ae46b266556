"""How each planted script is run, and what is to be found.

A line that ends with `# <- here` is the one that the comparison must name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).parent
MARK = "# <- here"


@dataclass(frozen=True)
class Run:
    """A way to run a script: arguments, and variables beside those of the environment."""

    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Planted:
    """A script, its two runs, and its cause.

    cause: id in the table of causes. a, b: the runs; equal for a script whose runs differ by
    themselves. options: of `nondet trace`. role: of the stream whose first difference counts; ""
    for whichever stream names the cause.
    """

    script: str
    cause: str
    a: Run = Run()
    b: Run = Run()
    options: tuple[str, ...] = ()
    role: str = "main"

    @property
    def repeats(self) -> bool:
        """True if two runs of one command differ."""
        return self.a == self.b

    @property
    def path(self) -> Path:
        """The file of the script."""
        return FOLDER / f"{self.script}.py"

    @property
    def lines(self) -> tuple[int, ...]:
        """The numbers of the marked lines."""
        lines = self.path.read_text().splitlines()
        return tuple(number for number, line in enumerate(lines, 1) if line.endswith(MARK))


def _arguments(*arguments: str) -> Run:
    return Run(arguments)


def _environment(**variables: str) -> Run:
    return Run((), variables)


_SSE = {"MKL_ENABLE_INSTRUCTIONS": "SSE4_2"}  # the kernels of MKL that depend on alignment
_WITHOUT_FMA = "glibc.cpu.hwcaps=-AVX2,-FMA,-FMA4"  # the C library then takes other functions

PLAN = (
    # Two runs of one command.
    Planted("gather_backward", "index-backward-race"),
    Planted("put_accumulate", "put-race"),
    Planted("index_put_accumulate", "index-put-race"),
    Planted("assign_repeated", "repeated-assignment"),
    Planted("no_seed", "no-seed"),
    Planted("seed_after_model", "seed-too-late"),
    Planted("numpy_unseeded", "numpy-unseeded"),
    Planted("numpy_own_generator", "numpy-unseeded"),
    Planted("python_random_unseeded", "python-unseeded"),
    Planted("seed_from_clock", "seed-from-clock"),
    Planted("vocabulary_of_set", "hash-seed"),
    Planted("hash_bucket", "hash-seed"),
    Planted("set_of_parameters", "parameter-set"),
    Planted("uninitialized_memory", "uninitialized-memory"),
    Planted("buffer_race", "buffer-written"),
    Planted("hogwild", "shared-between-threads", role=""),
    Planted("unseen_write", "unseen-write"),
    Planted("time_of_day", "outside-data"),
    # Two commands.
    Planted("other_seed", "other-seed", _arguments("0"), _arguments("1")),
    Planted("other_dtype", "other-dtype", _arguments("float32"), _arguments("float64")),
    Planted("memory_layout", "memory-layout", _arguments("C"), _arguments("F")),
    Planted("resumed_run", "resumed-run", b=_arguments("--resume")),
    Planted(
        "other_order",
        "other-order",
        _arguments("size", "spread"),
        _arguments("spread", "size"),
    ),
    Planted("directory_order", "directory-order", b=_arguments("--other-machine")),
    Planted("worker_count", "worker-count", _arguments("1"), _arguments("2")),
    Planted("order_of_batches", "batch-order", _arguments("0"), _arguments("1")),
    Planted("order_of_completion", "completion-order", _arguments("0"), _arguments("1")),
    Planted("extra_draw", "extra-draw", b=_arguments("--verbose")),
    Planted("hidden_draw", "hidden-draw", b=_arguments("--peek")),
    Planted("batch_split", "batch-size", _arguments("64"), _arguments("7")),
    Planted("gradient_accumulation", "gradient-accumulation", _arguments("1"), _arguments("2")),
    Planted("resume_generator", "resume-generator", b=_arguments("--interrupted")),
    Planted("resume_optimizer", "resume-optimizer", b=_arguments("--interrupted")),
    Planted("fused_optimizer", "fused-optimizer", b=_arguments("--fused")),
    Planted("eval_mode", "train-eval", b=_arguments("--eval")),
    Planted("autocast", "autocast", b=_arguments("--autocast")),
    Planted("flush_denormal", "denormals", b=_arguments("--flush")),
    Planted("misaligned", "alignment", Run(("0",), _SSE), Run(("1",), _SSE)),
    Planted("matmul_precision", "matmul-precision", _arguments("highest"), _arguments("medium")),
    Planted("onednn", "onednn", b=_arguments("--without-onednn")),
    # Two environments.
    Planted(
        "thread_count",
        "thread-count",
        _environment(OMP_NUM_THREADS="1"),
        _environment(OMP_NUM_THREADS="2"),
    ),
    Planted("mkl_kernels", "cpu-capability", b=_environment(MKL_CBWR="COMPATIBLE")),
    Planted("complex_powers", "environment", b=_environment(GLIBC_TUNABLES=_WITHOUT_FMA)),
    Planted("cpu_capability", "cpu-capability", b=_environment(ATEN_CPU_CAPABILITY="default")),
)
