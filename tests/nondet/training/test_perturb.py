import json
from collections import Counter
from dataclasses import asdict

import numpy as np
import pytest
import torch

from nondet.models import build_model
from nondet.studies.seeds import Seeds
from nondet.studies.specs import PerturbationSpec
from nondet.training.perturb import Perturbation, apply, check, draw, perturbable
from nondet_ext import random_flip

KEYS = [Seeds(bit=seed).key("bit") for seed in range(2, 40)]
UNSIGNED = {8: np.uint64, 4: np.uint32, 2: np.uint16}


def tensors():
    """Four tensors, one of them not contiguous, one without dimensions."""
    base = torch.arange(1, 61, dtype=torch.float32)
    return {
        "stem.bias": base[:3].clone(),
        "stem.weight": base[3:15].reshape(4, 3).clone().t(),
        "head.weight": base[15:45].reshape(5, 6).clone(),
        "head.scale": base[45].clone(),
    }


def bits(named):
    """Return the bit patterns of all elements by (name, logical index)."""
    return {
        (name, index): pattern
        for name, tensor in named.items()
        for index, pattern in enumerate(
            tensor.detach().contiguous().flatten().numpy().view(np.uint32).tolist()
        )
    }


def changed(before, after):
    return [place for place in before if before[place] != after[place]]


@pytest.mark.parametrize(
    ("model", "layer"),
    [("linear", "fc.weight"), ("hidden", "fc1.weight"), ("resnet14-w8", "conv1.weight")],
)
def test_by_default_one_weight_of_the_first_layer_moves_to_its_neighbour(model, layer):
    network = build_model(model, (1, 8, 8), 10, Seeds().key("init"))
    offered = perturbable("weights", network, torch.optim.SGD(network.parameters()))
    old, before = offered[layer].detach().flatten().numpy().copy(), bits(offered)
    record = apply(PerturbationSpec(), offered, KEYS[0])
    assert (record.target, record.tensor, record.change, record.bit) == (
        "weights",
        layer,
        "ulp",
        None,
    )
    assert changed(before, bits(offered)) == [(layer, record.index)]
    new = offered[layer].detach().flatten().numpy()
    towards = np.float32(np.inf * record.direction)
    assert new[record.index] == np.nextafter(old[record.index], towards) == record.new_value
    assert old[record.index] == record.old_value
    assert record.old_bits == f"0x{old.view(np.uint32)[record.index]:08x}"
    assert record.new_bits == f"0x{new.view(np.uint32)[record.index]:08x}"


@pytest.mark.parametrize("shape", [(512, 64), (1, 1), (3, 5, 7)])
def test_default_choice_is_that_of_random_flip(shape):
    for key in KEYS:
        flip = random_flip(torch.ones(shape), key.seed, key.stream)
        choice = draw(PerturbationSpec(), {"w": torch.ones(shape)}, key)
        assert (choice.index, choice.direction) == (int(flip.indices), int(flip.directions))


@pytest.mark.parametrize(("pattern", "sizes"), [("*", [3, 12, 30, 1]), ("head.*", [30, 1])])
def test_elements_of_several_tensors_are_numbered_through(pattern, sizes):
    """The draw is uniform over the elements of all tensors, as if they were one tensor."""
    names = [name for name in tensors() if pattern == "*" or name.startswith("head")]
    ends = np.cumsum(sizes)
    seen = Counter()
    for key in KEYS:
        choice = draw(PerturbationSpec(tensor=pattern), tensors(), key)
        place = int(random_flip(torch.ones(sum(sizes)), key.seed, key.stream).indices)
        number = int(np.searchsorted(ends, place, side="right"))
        assert (choice.tensor, choice.index) == (
            names[number],
            place - (ends[number] - sizes[number]),
        )
        seen[choice.tensor] += 1
    assert len(seen) >= 2


@pytest.mark.parametrize("target", ["momentum", "statistics", "gradient", "pixel"])
def test_other_targets_choose_among_all_elements(target):
    found = {draw(PerturbationSpec(target=target), tensors(), key).tensor for key in KEYS}
    assert found >= {"stem.bias", "stem.weight", "head.weight"}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_every_bit_can_be_inverted(dtype):
    width = 8 * torch.ones((), dtype=dtype).element_size()
    unsigned = UNSIGNED[width // 8]
    for bit in range(width):
        tensor = torch.tensor([[1.5, -0.0], [0.25, 3.0]], dtype=dtype)
        before = tensor.view(-1).view(torch.uint8).numpy().view(unsigned).copy()
        spec = PerturbationSpec(tensor="x", index=2, change="bit", bit=bit)
        record = apply(spec, {"x": tensor}, KEYS[0])
        after = tensor.view(-1).view(torch.uint8).numpy().view(unsigned)
        assert (before ^ after).tolist() == [0, 0, 1 << bit, 0]
        assert record.new_bits == f"0x{int(after[2]):0{width // 4}x}"
        assert (record.bit, record.direction) == (bit, None)


def test_drawn_bits_and_directions_take_every_value():
    spec = PerturbationSpec(tensor="head.weight", change="bit")
    keys = [Seeds(bit=seed).key("bit") for seed in range(2, 400)]
    choices = [draw(spec, tensors(), key) for key in keys]
    assert {choice.bit for choice in choices} == set(range(32))
    # The bit is drawn apart from the element: equal elements, different bits.
    assert len({(choice.index, choice.bit) for choice in choices}) > 300
    assert {draw(PerturbationSpec(), tensors(), key).direction for key in KEYS} == {-1, 1}


def test_given_element_and_direction_are_obeyed():
    spec = PerturbationSpec(tensor="stem.weight", index=7, direction=-1)
    named = tensors()
    before = bits(named)
    record = apply(spec, named, KEYS[3], step=17)
    assert changed(before, bits(named)) == [("stem.weight", 7)]
    # Row-major over the 3 x 4 shape, though the memory is that of a 4 x 3 tensor.
    assert record.old_value == named["stem.weight"].new_tensor(range(4, 16)).reshape(4, 3).t()[1, 3]
    assert record.new_value < record.old_value
    assert record.step == 17


@pytest.mark.parametrize("change", ["ulp", "bit"])
@pytest.mark.parametrize("value", [0.0, -0.0, 1.0, 3.4028234663852886e38])
def test_undo_brings_the_bits_back(change, value):
    for key in KEYS[:8]:
        named = {"x": torch.full((2, 3), value), "y": torch.tensor(value)}
        before = bits(named)
        record = apply(PerturbationSpec(target="gradient", change=change), named, key)
        assert len(changed(before, bits(named))) == 1
        restored = Perturbation(**json.loads(json.dumps(asdict(record), allow_nan=False)))
        assert restored == record
        restored.undo(named)
        assert bits(named) == before


def test_undo_refuses_what_has_changed_since():
    named = tensors()
    record = apply(PerturbationSpec(), named, KEYS[0])
    named[record.tensor][np.unravel_index(record.index, (3, 4))] = 9.0
    before = bits(named)
    with pytest.raises(RuntimeError, match=f"element {record.index} of 'stem.weight' has changed"):
        record.undo(named)
    assert bits(named) == before
    with pytest.raises(
        ValueError, match=r"perturbation.tensor is 'stem.weight'; among the weights"
    ):
        record.undo({"other": named["stem.weight"]})


def test_what_the_targets_offer():
    model = build_model("resnet14-w8", (1, 8, 8), 10, Seeds().key("init"))
    optimizer = torch.optim.SGD(model.parameters(), momentum=0.9)
    parameters = [name for name, _ in model.named_parameters()]
    assert perturbable("gradient", model, optimizer) == {}
    assert perturbable("momentum", model, optimizer) == {}
    model(torch.ones(2, 1, 8, 8)).sum().backward()
    optimizer.step()
    assert list(perturbable("weights", model, optimizer)) == parameters
    assert list(perturbable("gradient", model, optimizer)) == parameters
    momentum = perturbable("momentum", model, optimizer)
    assert [name.rpartition(".")[0] for name in momentum] == parameters
    statistics = perturbable("statistics", model, optimizer)
    assert {name.rpartition(".")[2] for name in statistics} == {"running_mean", "running_var"}
    images = torch.ones(2, 1, 8, 8)
    assert perturbable("pixel", model, optimizer, images)["images"] is images
    # The tensors are live.
    apply(PerturbationSpec(target="momentum", tensor="fc.bias.*", index=0), momentum, KEYS[0])
    assert torch.equal(
        optimizer.state[model.fc.bias]["momentum_buffer"], momentum["fc.bias.momentum_buffer"]
    )
    with pytest.raises(ValueError, match="the target is 'pixel', but no images are given"):
        perturbable("pixel", model, optimizer)


def test_counters_of_adam_are_no_momentum():
    model = build_model("linear", (1, 8, 8), 10, Seeds().key("init"))
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(2, 1, 8, 8)).sum().backward()
    optimizer.step()
    slots = {name.rpartition(".")[2] for name in perturbable("momentum", model, optimizer)}
    assert slots == {"exp_avg", "exp_avg_sq"}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {"tensor": "stem"},
            "perturbation.tensor is 'stem'; .*among the weights there are: stem.b",
        ),
        ({"tensor": "stem.*", "index": 0}, "index is 0, but perturbation.tensor leaves a choice"),
        ({"tensor": "stem.bias", "index": 3}, "index is 3; 'stem.bias' has 3 elements"),
        ({"change": "bit", "bit": 32}, "bit is 32; 'stem.weight' has 32 bits an element"),
    ],
)
def test_what_is_not_there_is_refused(spec, message):
    named = tensors()
    before = bits(named)
    with pytest.raises(ValueError, match=message):
        apply(PerturbationSpec(**spec), named, KEYS[0])
    assert bits(named) == before


def test_nothing_to_change_is_an_error():
    with pytest.raises(ValueError, match="target is 'momentum', of which there is nothing here"):
        draw(PerturbationSpec(target="momentum"), {}, KEYS[0])
    with pytest.raises(ValueError, match="no weight has more than one dimension"):
        draw(PerturbationSpec(), {"bias": torch.ones(3)}, KEYS[0])


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"target": "gradient", "tensor": "fc.wait"}, "perturbation.tensor is 'fc.wait'"),
        ({"target": "statistics"}, "target is 'statistics', of which there is nothing here"),
        ({"target": "pixel", "index": 4 * 64}, "index is 256; 'images' has 256 elements"),
        ({"index": 640}, "index is 640; 'fc.weight' has 640 elements"),
    ],
)
def test_check_before_a_training(spec, message):
    model = build_model("linear", (1, 8, 8), 10, Seeds().key("init"))
    with pytest.raises(ValueError, match=message):
        check(PerturbationSpec(**spec), model, (4, 1, 8, 8))
    if "index" in spec:
        check(PerturbationSpec(**spec | {"index": spec["index"] - 1}), model, (4, 1, 8, 8))
