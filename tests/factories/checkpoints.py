"""Made checkpoints: their identity, environment, record and tensors."""

import json

import torch

from nondet.training.checkpoint import Checkpoint

IDENTITY = {"job": [1, 0.1, None], "data": "ab" * 32}
ENVIRONMENT = {
    "packages": {"torch": "2.13.0", "scipy": "1.11"},
    "torch_threads": 1,
    "torch_cpu_capability": "AVX512",
    "processor": "one",
}
OTHER = ENVIRONMENT | {"torch_cpu_capability": "AVX2", "torch_threads": 2, "processor": "other"}
NANS = torch.tensor([0x7FC00001, 0xFFC12345, 0x80000000, 0x00000001]).to(torch.int32)


def state(step):
    """A state with tensors of every dtype and shape that a training has, and more."""
    tensors = {
        "weights": torch.full((3, 4), step + 0.1),
        "payloads": NANS.view(torch.float32),
        "scalar": torch.tensor(-0.0, dtype=torch.float64),
        "empty": torch.empty(0, 5),
        "flags": torch.tensor([True, False]),
        "count": torch.tensor(2**62 + step),
        "bytes": torch.arange(256).to(torch.uint8),
        "half": torch.tensor([1.0, -2.0]).bfloat16(),
        "turned": torch.arange(6.0).reshape(2, 3).t(),
    }
    return Checkpoint(step, tensors, record_of(step))


def record_of(step, **changes):
    epoch = {
        "epoch": 1,
        "learning_rate": 0.1,
        "train_loss": 0.1 * step,
        "test_accuracy": None,
        "test_cross_entropy": 1e-300,
        "weights_sha256": "0f" * 32,
        "valid_cross_entropy": None,
    }
    perturbation = {
        "target": "weights",
        "tensor": 'a \u00e9 "b"',
        "index": 7,
        "step": 2,
        "change": "ulp",
        "direction": -1,
        "bit": None,
        "old_value": 0.1,
        "new_value": None,
        "old_bits": "0x3dcccccd",
        "new_bits": "0x7f800000",
    }
    record = {
        "identity": IDENTITY,
        "environment": ENVIRONMENT,
        "history": [epoch],
        "perturbations": [perturbation],
        "records": ["taps"],
    }
    return record | changes


def assert_equal(found, expected):
    assert found.step == expected.step
    assert json.dumps(found.record) == json.dumps(expected.record)
    assert found.tensors.keys() == expected.tensors.keys()
    for name, tensor in expected.tensors.items():
        other = found.tensors[name]
        assert (other.dtype, other.shape) == (tensor.dtype, tensor.shape)
        bits = [x.contiguous().flatten().view(torch.uint8) for x in (tensor, other)]
        assert torch.equal(*bits), name
