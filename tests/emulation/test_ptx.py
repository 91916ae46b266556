"""Test that kernels translated from nvcc's PTX compute the same as their source under g++, and that
nothing is approximated.
"""

import math
import struct

import numpy as np
import pytest

from . import build, inspection, nvcc, ptx
from .cache import run
from .ptx_parser import PtxError, parse
from .sample_kernels import MIXED_WORDS, call, module

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(build.missing("ptx") is not None, reason=str(build.missing("ptx"))),
]


def run_mixed(variant, words):
    emulated = module(variant)
    emulated.emulation.configure(0)
    out = np.zeros(MIXED_WORDS, np.uint64)
    call(emulated, "mixed", words, out)
    return out


def random_words(rng):
    words = rng.integers(0, 2**64, 8, dtype=np.uint64)
    words[:3] >>= rng.integers(0, 64, 3, dtype=np.uint64)
    scale = 10.0 ** rng.integers(-5, 9, 4)
    values = rng.standard_normal(4) * scale
    words[3:5] = [np.abs(values[:1]).view(np.uint64)[0], values[1:2].view(np.uint64)[0]]
    words[5:7] = np.abs(values[2:]).astype(np.float32).view(np.uint32)
    return words


def test_mixed_operations_agree_with_the_source_build():
    rng = np.random.default_rng(11)
    for _ in range(500):
        words = random_words(rng)
        source, translated = run_mixed("plain", words), run_mixed("ptx", words)
        assert source.tolist() == translated.tolist(), words.tolist()


def test_mixed_operations_agree_with_python():
    """Some of the operations agree with Python's integers; two compilers could share a misreading
    of the source.
    """
    rng = np.random.default_rng(12)
    for _ in range(100):
        words = random_words(rng)
        a, b, c = (int(w) for w in words[:3])
        s = c % 63 + 1
        a32, b32 = a % 2**32, b % 2**32
        expected = {
            0: a * b + c,
            1: a * b >> 64,
            2: a // (b | 1),
            3: a % (b | 1),
            6: (a << s) % 2**64 | b >> s,
            9: max(a, b),
            11: a32 * b32 >> 32,
            13: (a32 << (s & 31)) % 2**32 | b32 >> ((32 - s) & 31),
            15: a32 % (b32 | 1),
            19: a32.bit_count() << 32 | b.bit_count(),
            21: int(f"{a32:032b}"[::-1], 2),
        }
        for variant in ("plain", "ptx"):
            out = run_mixed(variant, words)
            assert {i: int(out[i]) for i in expected} == {i: v % 2**64 for i, v in expected.items()}


@pytest.mark.parametrize("wide", [False, True])
def test_contraction_changes_bits_and_is_seen(wide):
    """The value of a x - round(a x) is zero with two roundings; fused, it is the error of the first
    rounding, which fits float32.
    """
    a = np.float32(0.1)
    x = np.random.default_rng(13).standard_normal(256).astype(np.float32)
    y = -(a * x)

    def run_axpy(emulated):
        out = np.full(x.size, np.nan, np.float32)
        call(emulated, "axpy", float(a), x, y, out, x.size, wide)
        return out

    for variant in ("plain", "ptx"):
        assert np.array_equal(run_axpy(module(variant, "contraction")), np.zeros(x.size))
    fused = run_axpy(module("ptx", "contraction", "-fmad=true"))
    assert np.array_equal(fused, np.float64(a) * x.astype(np.float64) + y)
    assert np.count_nonzero(fused) > x.size / 2


KERNEL = """.version 9.0
.target sm_80
.address_size 64
.visible .entry kernel(.param .u64 kernel_param_0, .param .u64 kernel_param_1)
{{
  .reg .pred %p<4>; .reg .b16 %h<4>; .reg .b32 %r<8>;
  .reg .f32 %f<4>; .reg .b64 %d<8>; .reg .f64 %g<4>;
  ld.param.u64 %d0, [kernel_param_0];
  ld.param.u64 %d1, [kernel_param_1];
  ld.global.v2.u32 {{%r0, %r1}}, [%d0];
  ld.global.v2.u32 {{%r2, %r3}}, [%d0+8];
  ld.global.u64 %d2, [%d0];
  ld.global.u64 %d3, [%d0+8];
  ld.global.f32 %f0, [%d0];
  ld.global.f32 %f1, [%d0+8];
  ld.global.f64 %g0, [%d0];
  ld.global.f64 %g1, [%d0+8];
  {code}
  ret;
}}
"""

M32, M64 = 2**32 - 1, 2**64 - 1


def signed(value, bits):
    return value - 2**bits if value >> (bits - 1) & 1 else value


def field(value, position, length, bits, extend):
    """Return bfe by its definition: the bits of the field, filled with zeros or with the last bit
    inside the word.
    """
    position, length = position & 255, length & 255
    sign = extend and length > 0 and value >> min(position + length - 1, bits - 1) & 1
    chosen = [
        value >> (position + i) & 1 if i < length and position + i < bits else int(bool(sign))
        for i in range(bits)
    ]
    return sum(bit << i for i, bit in enumerate(chosen))


def permute(a, b, selector):
    data = (b << 32 | a).to_bytes(8, "little")
    out = 0
    for i in range(4):
        chosen = selector >> 4 * i & 15
        byte = data[chosen & 7]
        out |= (255 * (byte >> 7) if chosen & 8 else byte) << 8 * i
    return out


def as_f32(bits):
    return struct.unpack("<f", struct.pack("<I", bits))[0]


def as_f64(bits):
    return struct.unpack("<d", struct.pack("<Q", bits))[0]


def clamp(value, low, high, at_nan):
    return at_nan if math.isnan(value) else low if value < low else high if value > high else value


def to_integer(how, value, low, high, at_nan=0):
    return (
        int(how(value))
        if math.isfinite(value) and low <= how(value) <= high
        else clamp(value, low, high, at_nan)
    )


# (instructions that leave a result in a register, the result as a function of the four 32-bit words
# a, b, c, d in memory)
CASES = {
    "bfe.u32 %r4, %r0, %r1, %r2;": lambda a, b, c, d: field(a, b, c, 32, False),
    "bfe.s32 %r4, %r0, %r1, %r2;": lambda a, b, c, d: field(a, b, c, 32, True),
    "bfe.u64 %d7, %d2, %r2, %r3;": lambda a, b, c, d: field(b << 32 | a, c, d, 64, False),
    "bfi.b32 %r4, %r0, %r1, 7, 9;": lambda a, b, c, d: b & ~(511 << 7) | (a & 511) << 7,
    "bfi.b64 %d7, %d2, %d3, 60, 9;": lambda a, b, c, d: (
        (d << 32 | c) & ~(15 << 60) | (a & 15) << 60
    ),
    "prmt.b32 %r4, %r0, %r1, %r2;": lambda a, b, c, d: permute(a, b, c),
    "lop3.b32 %r4, %r0, %r1, %r2, 0xCA;": lambda a, b, c, d: a & b | ~a & c & M32,
    "shf.l.wrap.b32 %r4, %r0, %r1, %r2;": lambda a, b, c, d: (
        ((b << 32 | a) << (c & 31)) >> 32 & M32
    ),
    "shf.r.clamp.b32 %r4, %r0, %r1, %r2;": lambda a, b, c, d: (b << 32 | a) >> min(c, 32) & M32,
    "shl.b64 %d7, %d2, %r2;": lambda a, b, c, d: (b << 32 | a) << min(c, 64) & M64,
    "shr.s64 %d7, %d2, %r2;": lambda a, b, c, d: signed(b << 32 | a, 64) >> min(c, 64) & M64,
    "mad.wide.s32 %d7, %r0, %r1, %d3;": lambda a, b, c, d: (
        (signed(a, 32) * signed(b, 32) + (d << 32 | c)) & M64
    ),
    "mul.hi.s32 %r4, %r0, %r1;": lambda a, b, c, d: signed(a, 32) * signed(b, 32) >> 32 & M32,
    "mul.hi.s64 %d7, %d2, %d3;": lambda a, b, c, d: (
        signed(b << 32 | a, 64) * signed(d << 32 | c, 64) >> 64 & M64
    ),
    "cvt.s64.s8 %d7, %r0;": lambda a, b, c, d: signed(a & 255, 8) & M64,
    "cvt.u16.u32 %h0, %r0; cvt.s64.s16 %d7, %h0;": lambda a, b, c, d: signed(a & 65535, 16) & M64,
    "mov.b32 {%h0, %h1}, %r0; mov.b32 %r4, {%h1, %h0};": lambda a, b, c, d: (
        a >> 16 | (a & 65535) << 16
    ),
    "mov.b64 %d7, {%r1, %r2};": lambda a, b, c, d: c << 32 | b,
    "setp.lt.or.s32 %p1|%p2, %r0, %r1, %p0; selp.b64 %d7, 1, 2, %p2;": lambda a, b, c, d: (
        2 if signed(a, 32) < signed(b, 32) else 1
    ),
    "setp.gtu.f32 %p1, %f0, %f1; selp.b64 %d7, 1, 2, %p1;": lambda a, b, c, d: (
        2 if as_f32(a) <= as_f32(c) else 1
    ),
    "setp.ne.f32 %p1, %f0, %f1; selp.b64 %d7, 1, 2, %p1;": lambda a, b, c, d: (
        1 if as_f32(a) < as_f32(c) or as_f32(a) > as_f32(c) else 2
    ),
    "setp.nan.f64 %p1, %g0, %g1; selp.b64 %d7, 1, 2, %p1;": lambda a, b, c, d: (
        1 if math.isnan(as_f64(b << 32 | a)) or math.isnan(as_f64(d << 32 | c)) else 2
    ),
    "cvt.rzi.s32.f32 %r4, %f0;": lambda a, b, c, d: (
        to_integer(math.trunc, as_f32(a), -(2**31), 2**31 - 1) & M32
    ),
    "cvt.rmi.u32.f64 %r4, %g0;": lambda a, b, c, d: to_integer(
        math.floor, as_f64(b << 32 | a), 0, M32
    ),
    "cvt.rni.s64.f64 %d7, %g0;": lambda a, b, c, d: (
        to_integer(round, as_f64(b << 32 | a), -(2**63), 2**63 - 1, 2**63) & M64
    ),
    "@%p0 mov.u64 %d7, 5; @!%p0 mov.u64 %d7, 6;": lambda a, b, c, d: 6,
    "{ .param .b64 here; st.param.b64 [here+0], %d3; ld.param.b64 %d7, [here+0]; }": (
        lambda a, b, c, d: d << 32 | c
    ),
    "and.b32 %r5, %r0, 1; brx.idx %r5, table; table: .branchtargets even, odd; "
    "even: mov.u64 %d7, 10; bra done; odd: mov.u64 %d7, 11; done: ": (
        lambda a, b, c, d: 10 + (a & 1)
    ),
}
MAIN = """
#include <cstdio>
int main(int, char** argv) {{
  FILE* in = std::fopen(argv[1], "rb");
  uint64_t words[2], out = 0;
  while (std::fread(words, 16, 1, in) == 1) {{
    uint64_t* from = words;
    uint64_t* to = &out;
    void* arguments[] = {{&from, &to}};
    for (auto kernel : {{{kernels}}}) {{
      kernel(arguments);
      std::printf("%llu\\n", static_cast<unsigned long long>(out));
    }}
  }}
}}
"""


def stored(code):
    """Return an instruction that stores the result: 64 bits in %d7 or 32 bits in %r4."""
    widened = "" if "%d7" in code else "cvt.u64.u32 %d7, %r4; "
    return f" {widened}st.global.u64 [%d1], %d7;"


def test_instructions_one_by_one(tmp_path):
    rng = np.random.default_rng(14)
    inputs = rng.integers(0, 2**32, (400, 4), dtype=np.uint32)
    inputs[100:200, 1:] %= 70  # small shifts and lengths
    inputs[200:300, 0] = rng.standard_normal(100).astype(np.float32).view(np.uint32)
    inputs[300:350, ::2] = np.array(
        [0, 0x80000000, 0x7F800000, 0x7FC00000, 0x4F000000], np.uint32
    ).repeat(10)[:, None]
    doubles = rng.standard_normal(50) * 10.0 ** rng.integers(-3, 12, 50)
    inputs[350:, :2] = doubles.view(np.uint32).reshape(50, 2)
    text = "".join(
        KERNEL.format(code=code + stored(code)).replace("kernel", f"kernel{i}")
        for i, code in enumerate(CASES)
    )
    head = text[: text.index(".visible")]
    source = tmp_path / "cases.cpp"
    kernels = ", ".join(f"kernel_kernel{i}" for i in range(len(CASES)))
    translated = ptx.translate(head + text.replace(head, ""))
    source.write_text(translated + MAIN.format(kernels=kernels))
    runtime = [
        build.compile_unit(build.Unit(path))
        for path in sorted((build.HERE / "runtime").glob("*.cpp"))
    ]
    run([build.compiler(), *build.FLAGS, "-w", source, *runtime, "-ldl", "-o", tmp_path / "cases"])
    (tmp_path / "inputs").write_bytes(inputs.tobytes())
    printed = iter(run([tmp_path / "cases", tmp_path / "inputs"]).split())
    for words in inputs.tolist():
        for code, expected in CASES.items():
            assert int(next(printed)) == expected(*words), (code, words)


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("ex2.approx.f32 %f2, %f0;", "ex2"),
        ("add.rz.f32 %f2, %f0, %f1;", "rz"),
        ("add.f32 %f2, %f0, %f1;", "contract"),
        ("mul.ftz.f32 %f2, %f0, %f1;", "mul.ftz.f32"),
        ("cvt.rn.f16.f32 %h0, %f0;", "cvt.rn.f16.f32"),
        ("bar.sync 1, 64;", "barrier 0"),
        ("mov.u32 %r4, %clock;", "%clock"),
        ("ld.acquire.gpu.u32 %r4, [%d0];", "acquire"),
        ("call.uni (retval0), somewhere, (param0);", "somewhere"),
    ],
)
def test_what_is_not_known_is_an_error_that_names_it(code, names):
    with pytest.raises(PtxError, match=f"(?s)(?=.*{names})(?=.*kernel)"):
        ptx.translate(KERNEL.format(code=code))


def test_what_is_written_in_place_is_not_read_as_constant():
    # ld.global.nc of memory that the same launch writes is undefined (PTX ISA, "ld.global.nc").
    source = build.product().kernels[-1].with_name("ulp.cu")
    reads = {
        kernel: sum(n for opcode, n in counts.items() if opcode.startswith("ld.global.nc"))
        for kernel, counts in inspection.count_ptx(parse(nvcc.ptx_of(source).read_text())).items()
    }
    in_place = [n for kernel, n in reads.items() if "neighbor_kernel" in kernel]
    assert in_place == [0] * 4  # next_up and next_down with out=x, in four formats
    assert all(n > 0 for kernel, n in reads.items() if "spacing_kernel" in kernel)
