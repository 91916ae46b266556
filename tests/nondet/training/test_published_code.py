"""Trainings with the constants of the code that was published with the paper."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from nondet.data.dataset import make_dataset
from nondet.studies.config import RunConfig
from nondet.studies.seeds import Onset, Seeds
from nondet.training.determinism import deterministic
from nondet.training.images import ImageTraining
from nondet.training.recorders import make_recorders

CONFIG = RunConfig(
    "cifar10", "linear", epochs=2, batch_size=16, lr=0.1, warmup_epochs=0, lowlevel="off"
)
PUBLISHED = replace(CONFIG, normalization="published")


def made(channels=3, size=8):
    numbers = torch.Generator().manual_seed(7)
    images = torch.randint(0, 256, (60, channels, size, size), generator=numbers).to(torch.uint8)
    labels = torch.arange(60) % 10
    return make_dataset("cifar10", 10, images[:40], labels[:40], images[40:], labels[40:])


def test_inputs_are_divided_by_the_published_constants():
    dataset = made()
    with deterministic():
        training = ImageTraining(PUBLISHED, Seeds(), dataset)
        while training.step < training.total_steps:
            training.advance()
        logits = training.result().logits
    pixels = dataset.test_images.double().numpy() / 255
    means, divisors = np.array([0.4914, 0.4822, 0.4465]), np.array([0.2023, 0.1994, 0.2010])
    inputs = (pixels - means[:, None, None]) / divisors[:, None, None]
    layer = training.model.fc
    w, b = layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()
    np.testing.assert_allclose(logits, inputs.reshape(20, -1) @ w.T + b, atol=1e-4)


def test_the_data_are_still_those_that_were_given():
    dataset = made()
    ours, theirs = (ImageTraining(each, Seeds(), dataset) for each in (CONFIG, PUBLISHED))
    assert ours.identity["data"] == theirs.identity["data"] == dataset.sha256
    assert ours.identity["config"] != theirs.identity["config"]


@pytest.mark.parametrize("keep", ["taps", "tta", "twin"])
def test_what_is_recorded_sees_the_same_inputs(keep):
    """With data whose own constants are the published ones, every record is the same."""
    dataset = made()
    theirs = ImageTraining(PUBLISHED, Seeds(), dataset).dataset
    seeds, onset = Seeds(bit=2), Onset()
    records = []
    for config, given in ((PUBLISHED, dataset), (CONFIG, theirs)):
        with deterministic():
            recorders = make_recorders({keep}, config, seeds, onset, given)
            training = ImageTraining(config, seeds, given, onset, recorders)
            while training.step < training.total_steps:
                training.advance()
            records.append(training.result().records[keep])
    assert records[0].keys() == records[1].keys()
    for name, array in records[0].items():
        assert array.tobytes() == records[1][name].tobytes(), name


def test_images_of_other_channels_are_refused():
    with pytest.raises(ValueError, match="with 3 channels for 'cifar10'; the images have 1"):
        ImageTraining(PUBLISHED, Seeds(), made(channels=1))


def test_data_sets_without_published_constants_are_refused():
    with pytest.raises(ValueError, match="published', which there is for cifar10, mnist alone; da"):
        replace(PUBLISHED, dataset="svhn")


def test_a_batch_that_is_larger_than_the_data_is_the_whole_data():
    config = replace(CONFIG, batch_size=64, drop_last=False)
    with deterministic():
        training = ImageTraining(config, Seeds(), made())
        assert training.total_steps == 2
        training.advance()
    with pytest.raises(ValueError, match="batch_size is 64; the data set has 40"):
        ImageTraining(replace(config, drop_last=True), Seeds(), made())
