"""Test torch.compile(fullgraph=True) of every public function: the bits are those of eager code,
whatever the arguments, and when sizes change.
"""

import inspect

import pytest
import torch

import nondet_ext as ext
from factories.public_calls import CASES, floats, public_functions

PUBLIC = public_functions()
SIZES = (3, 5, 4)

CANNOT = {
    "CKA": lambda x: ext.CKA().update([x, x]),
    "build_info": lambda x: ext.build_info(),
    "ordered": lambda x: ext.ordered("fixed").__enter__(),
    "spearman_files": lambda x: ext.spearman_files(["a.npy"]),
}
"""Functions that cannot be compiled."""

INDUCTOR = [
    "sum all",
    "next_up defaults out",
    "index_add_ strides",
    "bincount defaults",
    "flip_ulp gaps",
]

NO_GRADIENT = {"next_up", "next_down", "spacing", "flip_ulp", "flip_bit", "random_flip"}
"""They have no derivative."""

RECORDS = {"FlipRecord"}
"""Classes of results, which are tested with the functions that return them."""


def variants(case):
    """Return the arguments that a function's signature allows, by name."""
    parameters = inspect.signature(PUBLIC[case.name]).parameters
    accepts = [
        each.kind == inspect.Parameter.VAR_KEYWORD
        for each in inspect.signature(case.call).parameters.values()
    ]
    found = {"": {}}
    if not any(accepts):
        return found
    if "order" in parameters:
        found |= {"exact": {"order": "exact"}, "seeded": {"order": "seeded", "seed": (7, 1)}}
        found["atomic"] = {"order": "atomic"}
    if "out" in parameters:
        found |= {f"{name} out".strip(): each | {"out": None} for name, each in found.items()}
    return found


RUNS = {
    " ".join(filter(None, (case.name, case.label, label))): (case, arguments)
    for case in CASES
    for label, arguments in variants(case).items()
}


FIRST = {case.name: name for name, (case, _) in reversed(RUNS.items())}
"""The first run of each function. Slow tests compile the others, which take the same ways."""


def flat(result):
    """Return the tensors and numbers of a result."""
    return list(result) if isinstance(result, tuple | list) else [result]


def bits(value):
    if not isinstance(value, torch.Tensor):
        return value
    shown = value.detach().resolve_neg().contiguous()
    return tuple(value.shape), value.dtype, shown.view(-1).view(torch.uint8).tolist()


def copied(tensors):
    """Return copies with equal strides."""
    copies = []
    for each in tensors:
        size = each.untyped_storage().nbytes() // each.itemsize
        memory = each.as_strided((size,), (1,), 0).clone()
        copies.append(memory.as_strided(each.shape, each.stride(), each.storage_offset()))
    return copies


def run(function, case, tensors, arguments):
    """Return the bits of the results and of the arguments afterwards."""
    arguments = dict(arguments)
    if "out" in arguments:
        others = {name: each for name, each in arguments.items() if name != "out"}
        arguments["out"] = torch.zeros_like(case.call(*copied(tensors), **others))
    tensors = copied(tensors)
    result = flat(function(*tensors, **arguments))
    return [bits(each) for each in (*result, *tensors, *arguments.values())]


def compiled(function, **options):
    torch._dynamo.reset()
    return torch.compile(function, fullgraph=True, **({"backend": "aot_eager"} | options))


def test_every_public_function_is_compiled_or_refuses():
    assert {case.name for case in CASES} | CANNOT.keys() | RECORDS == PUBLIC.keys()


def check(case, arguments, **options):
    """Compile once, and compare the bits of calls of several sizes with those of eager code."""
    function = compiled(case.call, **options)
    for n in SIZES:
        tensors = case.make(n)
        if arguments.get("order") == "atomic":  # integers have the same sum in every order
            tensors = [each.round() if each.is_floating_point() else each for each in tensors]
        expected = run(case.call, case, tensors, arguments)
        assert run(function, case, tensors, arguments) == expected, n


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if FIRST[case.name] == name else pytest.mark.slow)
        for name, (case, _) in RUNS.items()
    ],
)
def test_sizes_that_change(name):
    check(*RUNS[name])


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [name for name, (_, given) in RUNS.items() if "order" not in given]
)
def test_dynamic_sizes(name):
    check(*RUNS[name], dynamic=True)


@pytest.mark.parametrize("name", INDUCTOR)
def test_inductor(name):
    check(*RUNS[name], backend="inductor")


def differentiable():
    return [case for case in CASES if has_gradient(case)]


def has_gradient(case):
    if case.name in NO_GRADIENT or case.name.endswith("_"):
        return False
    tensors = [each.requires_grad_(each.is_floating_point()) for each in case.make(3)]
    results = flat(case.call(*tensors))
    return any(isinstance(each, torch.Tensor) and each.requires_grad for each in results)


def gradients(function, tensors):
    """Return the bits of the results and of the gradients of all floating-point arguments."""
    tensors = [each.requires_grad_(each.is_floating_point()) for each in copied(tensors)]
    wanted = [each for each in tensors if each.requires_grad]
    results = [each for each in flat(function(*tensors)) if each.requires_grad]
    weights = [torch.arange(1.0, each.numel() + 1).reshape(each.shape) for each in results]
    found = torch.autograd.grad(results, wanted, weights)
    return [bits(each) for each in (*results, *found)]


@pytest.mark.slow
@pytest.mark.parametrize("dynamic", [None, True], ids=["changing", "dynamic"])
@pytest.mark.parametrize("case", differentiable(), ids=lambda case: f"{case.name} {case.label}")
def test_gradients(case, dynamic):
    function = compiled(case.call, dynamic=dynamic)
    for n in SIZES:
        tensors = case.make(n)
        assert gradients(function, tensors) == gradients(case.call, tensors), n


@pytest.mark.parametrize("name", CANNOT)
def test_what_cannot_be_compiled_says_so(name):
    call, x = CANNOT[name], floats(5, 3)
    with pytest.raises(
        torch._dynamo.exc.Unsupported, match=rf"nondet_ext\.{name}.* cannot be compiled"
    ):
        compiled(call)(x)
    assert "torch.compile" in PUBLIC[name].__doc__


def test_what_cannot_be_compiled_runs_eagerly_without_fullgraph():
    def step(x):
        return x + 1, ext.build_info()

    torch._dynamo.reset()
    result, info = torch.compile(step, backend="aot_eager")(torch.ones(3))
    assert info == ext.build_info()
    assert result.tolist() == [2.0, 2.0, 2.0]


@pytest.mark.parametrize(
    ("call", "arguments", "error", "message"),
    [
        (ext.bincount, (torch.tensor([1, -2]), torch.ones(2)), IndexError, r"index\[1\] = -2"),
        (
            ext.churn,
            (torch.ones(2, 2).long(), torch.tensor([1, -1])),
            ValueError,
            "labels must lie",
        ),
        (
            lambda x, y: ext.ensemble_delta(x, y, lambda mean, labels: mean.sum((1, 2))),
            (torch.ones(2, 3, 2), torch.tensor([0, 1, 2])),
            ValueError,
            "labels must lie",
        ),
        (
            lambda x, y: ext.ensemble_delta(x, y, lambda mean, labels: torch.ones(len(mean))),
            (torch.full((2, 2, 2), torch.nan), torch.tensor([0, 1])),
            ValueError,
            "logits must be finite",
        ),
        (
            lambda x: ext.linear_cka([x, x]),
            (torch.full((3, 2), torch.inf),),
            ValueError,
            "features",
        ),
    ],
    ids=["bincount", "churn", "labels", "logits", "linear_cka"],
)
def test_compiled_code_checks_values(call, arguments, error, message):
    with pytest.raises(error, match=message):
        compiled(call)(*arguments)


def test_compiled_code_warns_at_the_line_of_the_caller():
    labels = torch.tensor([0, 2])
    for function in (ext.churn, compiled(ext.churn)):
        with pytest.warns(ext.DegenerateInputWarning, match="no example has the label 1") as met:
            function(torch.ones(2, 2).long(), labels)
        assert met[0].filename == __file__


def test_elements_that_share_memory_are_refused_in_compiled_code():
    shared = torch.arange(6.0).as_strided((2, 3), (1, 1))
    for x, message in [(torch.ones(3).expand(2, 3), "share memory"), (shared, "share memory")]:
        for call in (
            lambda x: ext.flip_ulp(x, 0),
            lambda x: ext.index_add_(x, 0, torch.tensor([0]), torch.ones(1, 3)),
            lambda x: ext.random_flip(x, 1).undo(),
        ):
            with pytest.raises(torch._dynamo.exc.Unsupported, match=message):
                compiled(call, dynamic=True)(x)


def test_an_undo_after_a_change_is_refused_in_compiled_code():
    def step(x):
        record = ext.random_flip(x, 1)
        x.add_(1)
        record.undo()

    with pytest.raises(RuntimeError, match="has changed since the flip"):
        compiled(step)(torch.ones(4))
