"""Groups of settings: the small change of a run, and the settings of language models."""

from dataclasses import dataclass, field
from typing import Literal

from nondet.studies.errors import SettingError
from nondet.studies.later import LATER
from nondet.studies.validation import (
    check_fraction,
    check_maximum,
    check_minimum,
    check_not_negative,
    check_types,
)

Target = Literal["weights", "momentum", "statistics", "gradient", "pixel"]
Change = Literal["ulp", "bit"]
Tested = Literal["last", "best"]


@dataclass(frozen=True)
class PerturbationSpec:
    """The small change that a run makes once if its bit seed is not held.

    Attributes:
        target: The kind of value that is changed: a weight, an entry of the optimizer's momentum, a
            batch-norm statistic, an entry of a gradient, or a pixel of a batch as the model sees
            it.
        step: The optimizer step, counted from the beginning of the onset epoch, just before which
            the value is changed; a gradient is changed within the step.
        tensor: The name of the tensor, or a shell pattern of names such as "blocks.0.*". By default
            the weight of the first layer; for other targets, drawn from all tensors.
        index: The flat row-major index of the value; drawn by default.
        change: "ulp" moves to a neighbouring floating-point value, "bit" inverts one bit.
        direction: 1 for up, -1 for down, with "ulp" only; drawn by default.
        bit: The bit, 0 being the lowest, with "bit" only; drawn by default.
    """

    target: Target = "weights"
    step: int = 0
    tensor: str | None = None
    index: int | None = None
    change: Change = "ulp"
    direction: int | None = None
    bit: int | None = None

    def __post_init__(self) -> None:
        check_types(self, "perturbation.")
        check_minimum("perturbation.step", self.step, 0)
        if self.index is not None:
            check_minimum("perturbation.index", self.index, 0)
            if self.tensor is None and self.target not in ("weights", "pixel"):
                raise SettingError(
                    f"perturbation.index is {self.index}, but no perturbation.tensor is given; "
                    f"with the target {self.target!r} an index needs a tensor",
                    "perturbation.index",
                    "perturbation.target",
                )
        if self.direction not in (None, 1, -1):
            raise SettingError(
                f"perturbation.direction is {self.direction}; known: 1, -1",
                "perturbation.direction",
            )
        if self.direction is not None and self.change != "ulp":
            raise SettingError(
                f"perturbation.direction is {self.direction}, but the change is 'bit'; only 'ulp' "
                "has a direction",
                "perturbation.direction",
                "perturbation.change",
            )
        if self.bit is not None:
            if self.change != "bit":
                raise SettingError(
                    f"perturbation.bit is {self.bit}, but the change is 'ulp'; only 'bit' inverts "
                    "a bit",
                    "perturbation.bit",
                    "perturbation.change",
                )
            if not 0 <= self.bit < 64:
                raise SettingError(
                    f"perturbation.bit is {self.bit}; it must lie in [0, 64)", "perturbation.bit"
                )


_HIGHEST = {
    "embedding": 2**16,
    "hidden": 2**16,
    "layers": 1000,
    "bptt": 1_000_000,
    "trigger": 1_000_000,
}
"""The highest value of settings of a language model that are counts; the lowest is 1."""


@dataclass(frozen=True)
class LanguageSpec:
    """The settings that only language models have.

    Attributes:
        embedding: The size of the embedding.
        hidden: The units of each layer of the quasi-recurrent network (Bradbury et al. 2016).
        layers: The number of its layers.
        window: The tokens that its first layer sees at a time, 1 or 2; other layers see 1.
        bptt: The mean length, in tokens, of the segments through which gradients flow.
        variable_bptt: Draw the length of every segment (Merity et al. 2017, Sec. 5).
        dropout_embedding: Dropout of whole words of the vocabulary.
        dropout_input: Dropout of the embedded input; one mask for all tokens of a segment.
        dropout_hidden: Dropout between layers; one mask for all tokens of a segment.
        dropout_output: Dropout after the last layer; one mask for all tokens of a segment.
        dropout_weight: Dropout of the weights of the gates.
        zoneout: The probability that a unit keeps its state (Krueger et al. 2017).
        activation_reg: The factor of the L2 penalty on the output of the last layer (Merity et al.
            2017, Sec. 4).
        temporal_reg: The factor of the L2 penalty on the change of that output from token to token
            (the same).
        clip: The largest norm of a gradient; 0 for no limit.
        trigger: The averaging "triggered" begins after an epoch whose validation loss exceeds the
            lowest of all epochs before it except the last `trigger` of them.
        tested: The epoch whose weights are the result of the training, and predict the test text:
            the "last" one, or the "best", the first with the lowest validation loss, as in the code
            of Merity et al. (2017).
    """

    embedding: int = 256
    hidden: int = 512
    layers: int = 3
    window: int = 2
    bptt: int = 70
    variable_bptt: bool = True
    dropout_embedding: float = 0.1
    dropout_input: float = 0.4
    dropout_hidden: float = 0.25
    dropout_output: float = 0.4
    dropout_weight: float = 0.0
    zoneout: float = 0.0
    activation_reg: float = 2.0
    temporal_reg: float = 1.0
    clip: float = 0.25
    trigger: int = 5
    tested: Tested = field(default="last", metadata=LATER)

    def __post_init__(self) -> None:
        check_types(self, "language.")
        for name, maximum in _HIGHEST.items():
            check_minimum(f"language.{name}", getattr(self, name), 1)
            check_maximum(f"language.{name}", getattr(self, name), maximum)
        if self.window not in (1, 2):
            raise SettingError(f"language.window is {self.window}; known: 1, 2", "language.window")
        for name, value in vars(self).items():
            if name.startswith("dropout_") or name == "zoneout":
                check_fraction(f"language.{name}", value)
        for name in ("activation_reg", "temporal_reg", "clip"):
            check_not_negative(f"language.{name}", getattr(self, name))

    @property
    def stochastic(self) -> bool:
        """True if training draws more than the initial weights and the small change."""
        dropped = [value for name, value in vars(self).items() if name.startswith("dropout_")]
        return self.variable_bptt or any(dropped) or self.zoneout > 0
