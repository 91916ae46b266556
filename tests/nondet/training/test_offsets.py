import numpy as np
import pytest
import torch

from nondet.models import build_model
from nondet.studies.seeds import Seeds
from nondet.training.offsets import weight_offsets
from nondet_ext import philox_normal

KEY = Seeds(stochastic=7).key("stochastic")


def model_and_copy(name="hidden"):
    model = build_model(name, (1, 8, 8), 10, Seeds().key("init"))
    return model, {n: x.detach().clone() for n, x in model.named_parameters()}


def bits(tensor):
    return tensor.detach().numpy().tobytes()


def moved(step=5, key=KEY, sd=0.25):
    """Return the difference of each parameter within the context, in float32."""
    model, before = model_and_copy()
    with weight_offsets(model, key, step, sd):
        return {n: x.detach() - before[n] for n, x in model.named_parameters()}


def test_every_weight_is_moved_by_its_own_draw_and_nothing_else():
    model, before = model_and_copy("resnet14-w8")
    with weight_offsets(model, KEY, 5, 0.25):
        for p, (name, x) in enumerate(model.named_parameters()):
            expected = before[name].numpy()
            if x.dim() > 1:
                draw = philox_normal(
                    tuple(x.shape), seed=7, stream=KEY.stream, counter=(5, p, 1)
                ).numpy()
                expected = expected + np.float32(0.25) * draw
            assert bits(x) == expected.tobytes(), name


def test_offsets_are_normal():
    offsets = torch.cat([x.flatten() for n, x in moved(sd=0.25).items() if n.endswith("weight")])
    n = offsets.numel()
    # Five standard deviations of the mean and of the variance of n normal variates.
    assert abs(offsets.mean()) < 5 * 0.25 / n**0.5
    assert abs(offsets.var() / 0.25**2 - 1) < 5 * (2 / n) ** 0.5


def test_bits_come_back_also_where_adding_and_subtracting_would_lose_them():
    model, _ = model_and_copy()
    with torch.no_grad():
        model.fc1.weight.mul_(1e-9)
        model.fc1.weight.view(torch.int32)[0, :3] = torch.tensor([-(2**31), 1, 0x7FC01234])
    before = [bits(x) for x in model.parameters()]
    with weight_offsets(model, KEY, 0, 1.0):
        assert bits(model.fc1.weight) != before[0]
    assert [bits(x) for x in model.parameters()] == before
    with pytest.raises(KeyError), weight_offsets(model, KEY, 0, 1.0):
        raise KeyError
    assert [bits(x) for x in model.parameters()] == before


def test_the_gradient_is_that_of_the_moved_weights():
    images, labels = torch.linspace(-1, 1, 4 * 64).view(4, 1, 8, 8), torch.arange(4)
    model, before = model_and_copy()
    loss = torch.nn.functional.cross_entropy
    with weight_offsets(model, KEY, 5, 0.25):
        loss(model(images), labels).backward()
    other, _ = model_and_copy()
    with torch.no_grad():
        for (name, x), offset in zip(other.named_parameters(), moved().values(), strict=True):
            x.copy_(before[name] + offset)
    loss(other(images), labels).backward()
    plain, _ = model_and_copy()
    loss(plain(images), labels).backward()
    for one, two, unmoved in zip(
        model.parameters(), other.parameters(), plain.parameters(), strict=True
    ):
        # The offset was read back from a rounded sum: a few roundings of weights below 2.
        np.testing.assert_allclose(one.grad, two.grad, atol=1e-5)
        assert abs(one.grad - unmoved.grad).max() > 1e-3


def test_steps_and_seeds_give_other_offsets_and_equal_ones_the_same():
    first = moved()["fc1.weight"]
    assert torch.equal(first, moved()["fc1.weight"])
    for other in (moved(step=6), moved(key=Seeds(stochastic=8).key("stochastic"))):
        assert (first != other["fc1.weight"]).float().mean() > 0.99


def test_a_standard_deviation_of_zero_changes_no_value():
    assert all((x == 0).all() for x in moved(sd=0.0).values())


@pytest.mark.parametrize("sd", [-0.1, float("nan"), float("inf")])
def test_bad_standard_deviations_are_refused(sd):
    model, _ = model_and_copy()
    message = r"sd is .*; it must be a finite number, not negative"
    with pytest.raises(ValueError, match=message), weight_offsets(model, KEY, 0, sd):
        pass
