"""Tests of the comparison of environments."""

import copy
import json
import math

import pytest

from nondet.environment import decisive, differences, mixture, short_digest, with_current_names

CPU = {
    "device": "cpu",
    "python": "3.13.1",
    "packages": {"nondet": "1.0", "torch": "2.14", "numpy": "2.1"},
    "processor": "A",
    "torch_threads": 1,
    "torch_cpu_capability": "AVX512",
    "deterministic_algorithms": True,
    "settings": {"MKL_CBWR": "AVX2", "torch": {"backends.mkldnn.enabled": True}},
    "probe": {"matmul": "0a", "sum": "0b"},
    "nondet_ext": {"cpu_isa": "avx512", "cpu_isas": ["generic", "avx512"]},
    "git": {"commit": "c0ffee", "dirty": False},
}
OLD = {name: value for name, value in CPU.items() if name not in ("device", "settings", "probe")}
CUDA = CPU | {
    "device": "cuda",
    "gpu": "G",
    "cuda": "13.0",
    "cudnn": 92400,
    "settings": CPU["settings"] | {"cuda": {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}},
    "probe": {"matmul": "1a", "sum": "1b"},
}


def changed(environment, name, value):
    """Return an environment with another value of the part with this dotted name."""
    copied = copy.deepcopy(environment)
    *path, last = name.split("/")
    place = copied
    for key in path:
        place = place[key]
    place[last] = value
    return copied


DECISIVE = (
    "device",
    "packages/nondet",
    "packages/torch",
    "torch_threads",
    "torch_cpu_capability",
    "deterministic_algorithms",
    "settings/MKL_CBWR",
    "settings/OMP_DYNAMIC",
    "settings/torch/backends.mkldnn.enabled",
    "probe/matmul",
    "probe/of a later version",
)
REPORTED = ("python", "packages/numpy", "processor", "nondet_ext/cpu_isa", "git/commit", "git")


@pytest.mark.parametrize("name", DECISIVE)
def test_what_decides_is_a_difference(name):
    other = changed(CPU, name, "other")
    [line, *hint] = differences(CPU, other)
    assert line.startswith(name.replace("/", ".") + ": ")
    assert line.endswith(" there, other here")
    assert bool(hint) == name.startswith("probe")
    assert differences(other, CPU)[0].split(": ")[1].startswith("other there, ")
    assert short_digest(other) != short_digest(CPU)


@pytest.mark.parametrize("name", ["gpu", "cuda", "cudnn", "settings/cuda/NVIDIA_TF32_OVERRIDE"])
def test_what_belongs_to_a_gpu_decides(name):
    assert len(differences(CUDA, changed(CUDA, name, "other"))) == 1


LIMIT = "settings/cuda/torch/backends.cudnn.benchmark_limit"
SWITCHED = changed(CUDA, "settings/cuda/torch", {"backends.cudnn.benchmark": False})
"""A record of a CUDA device of an earlier version, which did not record the limit."""


def test_records_without_the_limit_of_the_autotuner_had_that_of_torch():
    usual, other = changed(SWITCHED, LIMIT, "10"), changed(SWITCHED, LIMIT, "0")
    assert differences(SWITCHED, usual) == differences(usual, SWITCHED) == []
    assert short_digest(SWITCHED) == short_digest(usual) != short_digest(other)
    assert mixture([SWITCHED, usual, usual]) == []
    name = LIMIT.replace("/", ".")
    assert differences(SWITCHED, other) == [f"{name}: 10 there, 0 here"]
    assert mixture([SWITCHED, usual, other]) == [f"{name}: 0 (1 run), 10 (2 runs)"]
    # Records of a CPU, and those without switches, have no limit.
    assert not any("limit" in name for name in (*decisive(CPU), *decisive(CUDA), *decisive(OLD)))


def test_another_driver_is_no_difference_but_a_possible_cause():
    with_driver = changed(CUDA, "driver", "570.86.10")
    other = changed(with_driver, "driver", "580.65.06")
    assert differences(CUDA, with_driver) == differences(with_driver, other) == []
    [_, hint] = differences(with_driver, changed(other, "probe/sum", "2b"))
    assert "driver: 570.86.10 there, 580.65.06 here" in hint


@pytest.mark.parametrize("name", REPORTED)
def test_what_is_only_reported_is_no_difference(name):
    other = changed(CPU, name, "other")
    assert differences(CPU, other) == []
    assert short_digest(other) == short_digest(CPU)


def test_an_environment_that_was_read_from_a_file_is_the_same():
    again = json.loads(json.dumps(CPU, sort_keys=True))
    assert differences(CPU, again) == []
    assert short_digest(CPU) == short_digest(again)
    digest = short_digest(CPU)
    assert len(digest) == 12
    assert set(digest) <= set("0123456789abcdef")


def test_a_digest_of_the_probe_alone_is_explained_by_what_else_differs():
    other = changed(changed(CPU, "probe/matmul", "ff"), "processor", "B")
    [line, hint] = differences(CPU, changed(other, "git/commit", "beef"))
    assert line == "probe.matmul: 0a there, ff here"
    assert "processor: A there, B here" in hint
    assert "git" not in hint
    [_, unexplained] = differences(CPU, changed(CPU, "probe/matmul", "ff"))
    assert "nothing else" in unexplained
    lines = differences(CPU, changed(other, "torch_threads", 2))
    assert [line.split(":")[0] for line in lines] == ["probe.matmul", "torch_threads"]


def test_a_setting_is_not_set_and_other_parts_are_not_recorded():
    without = changed(CPU, "settings", {"torch": CPU["settings"]["torch"]})
    assert differences(CPU, without) == ["settings.MKL_CBWR: AVX2 there, not set here"]
    without = {name: value for name, value in CPU.items() if name != "torch_threads"}
    assert differences(without, CPU) == ["torch_threads: not recorded there, 1 here"]


def test_an_older_record_lacks_whole_groups():
    assert differences(OLD, CPU) == [
        "device: not recorded there, cpu here",
        "probe: not recorded there, recorded here",
        "settings: not recorded there, recorded here",
    ]
    assert differences(OLD, OLD) == []


def test_names_of_older_builds_become_the_current_ones():
    older = changed(OLD, "nondet_ext", {"cpu_path": "avx2", "cpu_paths": ["avx2"]})
    assert with_current_names(older)["nondet_ext"] == {"cpu_isa": "avx2", "cpu_isas": ["avx2"]}
    assert with_current_names({"nondet_ext": "odd", "x": 1}) == {"nondet_ext": "odd", "x": 1}


def test_one_environment_is_no_mixture():
    assert mixture([]) == []
    assert mixture([CPU]) == []
    assert mixture([CPU, changed(CPU, "processor", "B"), CPU]) == []
    assert mixture([OLD, OLD]) == []


def test_a_mixture_counts_the_runs_of_each_side():
    other = changed(CPU, "torch_cpu_capability", "AVX2")
    assert mixture([CPU] * 7 + [other] + [CPU] * 2) == [
        "torch_cpu_capability: AVX2 (1 run), AVX512 (9 runs)"
    ]
    another = changed(other, "deterministic_algorithms", False)
    assert mixture([CPU, other, another, CPU]) == [
        "deterministic_algorithms: false (1 run), true (3 runs)",
        "torch_cpu_capability: AVX2 (2 runs), AVX512 (2 runs)",
    ]
    third = changed(other, "torch_cpu_capability", "DEFAULT")
    [line] = mixture([CPU, other, third])
    assert line.count("(1 run)") == 3


@pytest.mark.parametrize("name", DECISIVE[1:3] + DECISIVE[4:])
def test_runs_with_equal_settings_agree_in_all_that_decides(name):
    [line] = mixture([CPU, changed(CPU, name, "other")])
    assert line.startswith(name.replace("/", ".") + ": ")


def test_rows_may_have_other_devices_and_threads():
    two = changed(changed(CPU, "torch_threads", 2), "probe", {"matmul": "2a", "sum": "2b"})
    assert mixture([CPU, CUDA, two, CPU, two, CUDA]) == []
    assert mixture([CPU, CUDA, changed(two, "probe/sum", "ff"), two]) == [
        "probe.sum (device cpu, torch_threads 2): 2b (1 run), ff (1 run)"
    ]
    [line] = mixture([CPU, CUDA, changed(CUDA, "gpu", "H")])
    assert line.startswith("gpu (device cuda, torch_threads 1): G")
    [line] = mixture([CPU, CUDA, changed(CUDA, "settings/cuda/CUBLAS_WORKSPACE_CONFIG", ":16:8")])
    assert line.startswith("settings.cuda.CUBLAS_WORKSPACE_CONFIG (device cuda, torch_threads 1)")
    for name in ("packages/torch", "torch_cpu_capability", "settings/MKL_CBWR"):
        [line] = mixture([CPU, CPU, changed(CUDA, name, "other")])
        assert "(2 runs)" in line
        assert "other (1 run)" in line


def test_a_run_without_a_group_hides_no_other_difference():
    without = {name: value for name, value in CPU.items() if name != "probe"}
    assert mixture([CPU, without]) == ["probe: not recorded (1 run), recorded (1 run)"]
    # Another device needs no equal probe; but the two runs on the CPU do.
    gpu = without | {"device": "cuda"}
    assert mixture([CPU, changed(CPU, "probe/sum", "ff"), gpu]) == [
        "probe.sum (device cpu, torch_threads 1): 0b (1 run), ff (1 run)"
    ]


def nested(depth, leaf="x"):
    value = leaf
    for number in range(depth):
        value = {"deeper": value} if number % 2 else [value]
    return value


STRANGE = (
    {},
    [],
    None,
    "text",
    5,
    {"probe": None, "settings": 5, "packages": "torch", "device": ["cpu"]},
    {"probe": {"matmul": {"deep": [1, {"er": None}]}}, "torch_threads": "1"},
    {"device": math.nan, "torch_threads": 10**5000, "settings": {"torch": {}}},
    {"settings": nested(50_000), "probe": [nested(50_000)]},
    {"probe": {"": 1, "a\nb": "c\nd", "x" * 500: "y" * 500, "\ud800": "\ud800"}},
)


@pytest.mark.parametrize("strange", STRANGE, ids=range(len(STRANGE)))
def test_a_strange_record_is_a_difference_and_no_error(strange):
    for lines in (
        differences(strange, CPU),
        differences(CPU, strange),
        mixture([strange, CPU]),
        mixture([CPU, strange, CUDA]),
    ):
        assert lines
        assert all(line.isprintable() for line in lines)
    assert differences(strange, strange) == []
    assert mixture([strange, strange]) == []
    assert len(short_digest(strange)) == 12
    assert short_digest(strange) != short_digest(CPU)
    assert set(decisive(strange)) != set(decisive(CPU))


@pytest.mark.parametrize(("one", "other"), [(1, True), (1, "1"), (None, "None"), ([1], [1, 1])])
def test_values_of_other_types_differ(one, other):
    one, other = changed(CPU, "probe/sum", one), changed(CPU, "probe/sum", other)
    assert differences(one, other)
    assert mixture([one, other])
    assert short_digest(one) != short_digest(other)
