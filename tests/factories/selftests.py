"""Findings of a check of a machine, made up."""

from nondet.checking.results import Difference, Part, Variation
from nondet.checking.running import Findings
from nondet.checking.sanitizer import Sanitized
from nondet.checking.speed import Speed

MACHINE = {
    "device": "cuda",
    "processor": "A Processor",
    "packages": {"torch": "2.14.1"},
    "nondet_ext": {"version": "0.1.0", "cpu_isas": ["generic", "avx2"]},
    "gpu": {"name": "A GPU", "driver": "580.1", "runtime": "13.0", "memory": 80 << 30},
}

DIFFERENCE = Difference(
    "ops at edges",
    "cuda:0",
    "sum/float32/seeded/n=33 gaps",
    "differs from cpu generic, 1 thread",
    shape="(3,)",
    seed="7",
    element="element (2,)",
    expected="0x3f800000",
    found="0x3f800001",
)


def findings(*differences: Difference, **more: object) -> Findings:
    """Return findings with these differences, all of the second part."""
    device = "cuda:0"
    parts = [
        Part("permanent digests", "cpu generic, 1 thread", 3057, 4.5),
        Part("ops at edges", device, 12_416, 9.5, list(differences)),
        Part("compute-sanitizer", device, left_out="compute-sanitizer is not on PATH"),
        Part("atomic order", device, 2000, 1.0, notes=["none varied: 1 of 2 calls"]),
    ]
    return Findings(
        quick=False,
        memory=2 << 30,
        parts=parts,
        variations=[
            Variation(device, "sum/float32/atomic/all", 200, 1),
            Variation(device, "sum/float32/atomic/rows", 200, 31),
        ],
        sanitized=Sanitized("absent"),
        timed=device,
        copy_rate=2000.0,
        speeds=[
            Speed("sum, fixed", 1 << 28, 2e-4, "sum", 1e-4),
            Speed("spacing", 1 << 29, 4e-4, "", None),
        ],
        estimates={"ops at edges, cuda:0": 192 << 20},
        peak_bytes=100 << 20,
        seconds=42.0,
        **more,
    )
