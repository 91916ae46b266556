"""Repeat the same forward and backward pass, to see whether its gradients differ."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from nondet.data import Dataset
from nondet.studies.config import RunConfig
from nondet.studies.seeds import held, own_seed
from nondet.training.determinism import deterministic
from nondet.training.images import ImageTraining
from nondet_ext import fingerprints

_VENDOR_LAYERS = (
    *(nn.Conv1d, nn.Conv2d, nn.Conv3d),
    *(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
)
"""The layers whose gradients cuDNN may compute by algorithms that race."""


@dataclass(frozen=True)
class Repetition:
    """The results of passes with everything equal.

    digests: of the gradients of each pass, in order: 16 hex digits of a SHA-256. obstacle: the
    reason why they could not have differed, in words; "" if they could.
    """

    digests: tuple[str, ...]
    obstacle: str


def repeat_pass(config: RunConfig, dataset: Dataset, passes: int) -> Repetition:
    """Repeat a forward and backward pass of a configuration, as in runs whose low-level source
    varies, so many times: of the first batch and, if it is smaller, of the last one of an epoch.

    Weights, images and all draws are the same in every pass. The weights are those after one step
    in which every source is held: initial ones may have scales of 0, behind which no gradient shows
    anything. dataset: on `config.device`. Raises ValueError if it does not fit.
    """
    # Without a warm-up, at whose first step the rate is 0.
    config = replace(config, warmup_epochs=0, schedule="constant", averaging="none")
    constant = held(config.held_seed)
    free = replace(constant, lowlevel=own_seed(0, config.held_seed))
    with deterministic(config.threads):
        training = ImageTraining(config, constant, dataset)
        training.gradients(0, constant)
        training.optimizer.step()
        whole, rest = divmod(len(dataset.train_labels), config.batch_size)
        numbers = (0, whole) if rest and not config.drop_last and whole else (0,)
        watch = _Watch(training.model)

        def compute() -> list[torch.Tensor]:
            return [x for number in numbers for x in training.gradients(number, free)]

        digests, last = repeat(compute, passes)
        return Repetition(digests, watch.obstacle() or _hidden(last))


def repeat(
    compute: Callable[[], Sequence[torch.Tensor]], passes: int
) -> tuple[tuple[str, ...], Sequence[torch.Tensor]]:
    """Return digests of the results of `passes` calls, in order, and the last result.

    compute: returns tensors of any device. Every bit of them counts, and their order.
    """
    digests: list[str] = []
    result: Sequence[torch.Tensor] = ()
    for _ in range(passes):
        result = compute()
        digests.append(hashlib.sha256(repr(fingerprints(result)).encode()).hexdigest()[:16])
    return tuple(digests), result


class _Watch:
    """Watches under which settings the gradients of a model are computed."""

    def __init__(self, model: nn.Module) -> None:
        self._racing = False
        self._layers = any(isinstance(each, _VENDOR_LAYERS) for each in model.modules())
        next(model.parameters()).register_hook(self._look)

    def _look(self, gradient: torch.Tensor) -> None:
        # In the midst of the backward pass, where the settings decide.
        cudnn = torch.backends.cudnn
        held = torch.are_deterministic_algorithms_enabled() or cudnn.deterministic
        self._racing = self._racing or not held

    def obstacle(self) -> str:
        """Return why cuDNN could not race, in words; "" if it could."""
        if not torch.backends.cudnn.is_available():
            return "torch has no cuDNN here"
        if not torch.backends.cudnn.enabled:
            return "cuDNN is switched off (torch.backends.cudnn.enabled)"
        if not self._racing:
            return "torch's deterministic algorithms were on during the backward pass"
        return "" if self._layers else "the model has no convolution, which cuDNN would compute"


def _hidden(gradients: Sequence[torch.Tensor]) -> str:
    """Return why gradients would be equal in any order of sums, in words; "" if they need not."""
    if not all(x.isfinite().all() for x in gradients):
        return "the gradients are not finite"
    return "" if any(x.any() for x in gradients) else "the gradients are zero"
