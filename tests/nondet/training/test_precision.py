"""The precision of training steps: TF32 off unless it is asked for, and mixed precision."""

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch

from nondet.models import build_model
from nondet.studies.config import RunConfig
from nondet.studies.seeds import Seeds
from nondet.training.determinism import deterministic
from nondet.training.evaluation import predict
from nondet.training.images import ImageTraining
from nondet.training.loop import train
from nondet.training.precision import step_precision, tensor_float_32

CONFIG = RunConfig(
    "digits", "resnet6-w2", epochs=1, batch_size=80, lr=0.1, warmup_epochs=0, lowlevel="off"
)
MIXED = replace(CONFIG, precision="bfloat16")


def switches():
    """Return what torch says about TF32 in convolutions, recurrent layers and products."""
    return (
        torch.backends.cudnn.conv.fp32_precision,
        torch.backends.cudnn.rnn.fp32_precision,
        torch.backends.cuda.matmul.fp32_precision,
    )


@pytest.fixture
def gpu(monkeypatch):
    """Let this machine seem to have a CUDA device; torch's switches are there without one."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)


@contextmanager
def unchanged():
    before = switches(), torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    yield
    after = switches(), torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    assert after == before


@pytest.mark.usefixtures("gpu")
def test_a_training_allows_no_tf32():
    assert torch.backends.cudnn.allow_tf32  # torch's default, which a training must not have
    with unchanged():
        with deterministic():
            assert switches() == ("ieee", "ieee", "ieee")
            assert not torch.backends.cudnn.allow_tf32
        with pytest.raises(KeyError), deterministic():
            raise KeyError


@pytest.mark.usefixtures("gpu")
def test_steps_may_be_asked_to_use_it():
    config = replace(CONFIG, precision="tf32", device="cuda")
    with unchanged(), deterministic():
        with step_precision(config):
            assert switches() == ("tf32", "tf32", "tf32")
            assert torch.backends.cudnn.allow_tf32
        assert switches() == ("ieee", "ieee", "ieee")
        for other in ("float32", "bfloat16"):
            with step_precision(replace(config, precision=other, lowlevel="off")):
                assert switches() == ("ieee", "ieee", "ieee")


@pytest.mark.usefixtures("gpu")
def test_a_step_uses_it_and_a_prediction_does_not(few_digits):
    config = replace(CONFIG)
    object.__setattr__(config, "precision", "tf32")  # which needs a GPU; the switches do not
    training = ImageTraining(config, Seeds(), few_digits)
    seen = []
    training.model.conv1.register_forward_hook(lambda *_: seen.append(switches()[0]))
    training.model.conv1.weight.register_hook(lambda _: seen.append(switches()[0]))
    with deterministic():
        training.advance()
        assert seen == ["tf32", "tf32"]
        seen.clear()
        predict(training.model, few_digits)
    assert set(seen) == {"ieee"}


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("allowed", [False, True])
def test_the_caller_s_settings_come_back(allowed):
    before = switches()
    try:
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.fp32_precision = "tf32"
        torch.backends.cudnn.conv.fp32_precision = "ieee"
        with unchanged_switches(), tensor_float_32(allowed):
            pass
    finally:
        torch.backends.cudnn.allow_tf32 = True
        torch.backends.cuda.matmul.fp32_precision = before[2]


@contextmanager
def unchanged_switches():
    before = switches()
    yield
    assert switches() == before


def test_without_a_gpu_nothing_is_set(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    before = switches()
    with deterministic():
        assert switches() == before


def test_mixed_precision_computes_products_in_bfloat16(few_digits):
    training = ImageTraining(MIXED, Seeds(), few_digits)
    seen = []
    training.model.conv1.register_forward_hook(lambda _m, _i, output: seen.append(output.dtype))
    with deterministic():
        training.advance()
        assert seen == [torch.bfloat16]
        assert {x.grad.dtype for x in training.model.parameters()} == {torch.float32}
        assert {x.dtype for x in training.model.parameters()} == {torch.float32}
        while training.step < training.total_steps:
            training.advance()
        seen.clear()
        logits = training.result().logits
    assert set(seen) == {torch.float32}
    plain = build_model(MIXED.model, few_digits.image_shape, 10, Seeds().key("init"))
    plain.load_state_dict(training.model.state_dict())
    with deterministic():
        assert predict(plain, few_digits).tobytes() == logits.tobytes()


def test_a_step_of_mixed_precision_is_that_of_autocast(few_digits):
    """Compare one step without momentum with torch's own context."""
    config = replace(MIXED, momentum=0.0, weight_decay=0.0, bias_lr_scale=1.0)
    training = ImageTraining(config, Seeds(), few_digits)
    plain = build_model(config.model, few_digits.image_shape, 10, Seeds().key("init"))
    with deterministic():
        images, labels = training._load_batch(0, 0, Seeds())
        with torch.autocast("cpu", torch.bfloat16):
            loss = torch.nn.functional.cross_entropy(plain(images), labels)
        loss.backward()
        training.advance()
    for ours, theirs in zip(training.model.parameters(), plain.parameters(), strict=True):
        expected = theirs.detach() - 0.1 * theirs.grad
        np.testing.assert_allclose(ours.detach(), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("model", ["hidden", "resnet6-w2"])
def test_equal_seeds_give_equal_bits_in_mixed_precision(few_digits, model):
    config = replace(MIXED, model=model)
    first, second = (train(config, Seeds(), few_digits) for _ in range(2))
    other = train(config, Seeds(init=2), few_digits)
    exact = train(replace(config, precision="float32"), Seeds(), few_digits)
    hashes = [result.history[-1].weights_sha256 for result in (first, second, other, exact)]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"precision": "tf32"},
            "precision is 'tf32', which there is on cuda alone; device is 'cpu",
        ),
        ({"precision": "bfloat16", "lowlevel": "seeded"}, "but lowlevel is 'seeded', whose layers"),
        ({"precision": "bfloat16", "lowlevel": "exact"}, "set lowlevel to 'off' or 'vendor'"),
        ({"precision": "half"}, "precision is 'half'; known: float32, tf32, bfloat16"),
    ],
)
def test_precisions_that_cannot_be_met_are_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **changed)
