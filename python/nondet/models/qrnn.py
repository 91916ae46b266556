"""The quasi-recurrent language model (Bradbury et al. 2017, "Quasi-Recurrent Neural Networks") with
the regularization of Merity et al. 2017, "Regularizing and Optimizing LSTM Language Models".
"""

from itertools import pairwise
from typing import NamedTuple, Protocol

import torch
from torch import nn
from torch.nn import functional as F

from nondet.defaults import plain_defaults
from nondet.keys import Key
from nondet.models.dropout import EmbeddingDropout, LockedDropout, WeightDropout, Zoneout
from nondet.models.initialize import initialize
from nondet_ext import qrnn

State = tuple[torch.Tensor, ...]


class Architecture(Protocol):
    """The settings that the model reads; `nondet.LanguageSpec` has them and explains each."""

    @property
    def embedding(self) -> int: ...
    @property
    def hidden(self) -> int: ...
    @property
    def layers(self) -> int: ...
    @property
    def window(self) -> int: ...
    @property
    def dropout_embedding(self) -> float: ...
    @property
    def dropout_input(self) -> float: ...
    @property
    def dropout_hidden(self) -> float: ...
    @property
    def dropout_output(self) -> float: ...
    @property
    def dropout_weight(self) -> float: ...
    @property
    def zoneout(self) -> float: ...


class LanguageOutput(NamedTuple):
    """The output of a language model for T tokens of B texts.

    Attributes:
        logits: (T, B, vocabulary_size), of the token after each input token.
        state: the initial state of the next segment.
        raw: (T, B, embedding), the last layer's output.
        dropped: the same after its dropout.
    """

    logits: torch.Tensor
    state: State
    raw: torch.Tensor
    dropped: torch.Tensor


class QRNNLayer(nn.Module):
    """A quasi-recurrent layer: candidates, forget and output gates over a window of 1 or 2 inputs,
    and the recurrence `nondet_ext.forget_mult` (fo-pooling; Bradbury et al. 2017, Sec. 2.1).
    """

    def __init__(self, inputs: int, outputs: int, window: int, spec: Architecture) -> None:
        super().__init__()
        self.inputs, self.outputs, self.window = inputs, outputs, window
        self.gates = nn.Linear(window * inputs, 3 * outputs)
        self.weight_dropout = WeightDropout(spec.dropout_weight)
        self.zoneout = Zoneout(spec.zoneout)

    def forward(
        self, x: torch.Tensor, cell: torch.Tensor, previous: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the outputs, (T, B, outputs), and the state after them, (B, outputs).

        x: (T, B, inputs). cell: (B, outputs), the state before x. previous: (B, inputs), the input
        before x, needed if the window is 2.
        """
        step_key = self.zoneout.step_key if self.zoneout.active else None
        output, last = qrnn(
            x,
            self.weight_dropout(self.gates.weight),
            self.gates.bias,
            hidden=cell,
            previous=previous,
            window=self.window,
            zoneout=self.zoneout.p,
            key=None if step_key is None else (step_key[0].seed, step_key[0].stream),
            counter=() if step_key is None else step_key[1],
            training=self.training,
        )
        return output, last


class Encoder(nn.Embedding):
    """An embedding initialized uniformly in +-`uniform_range` (Merity et al. 2017, Sec. 5)."""

    uniform_range = 0.1


class TiedDecoder(nn.Module):
    """A linear layer to logits that shares the embedding's weight (Press and Wolf 2017; Inan et al.
    2017) and has a bias of its own, initially 0.
    """

    constant_init = True

    def __init__(self, vocabulary_size: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(vocabulary_size))

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.bias)

    def forward(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return F.linear(x, weight, self.bias)


class QRNNLanguageModel(nn.Module):
    """A model from tokens, (T, B), to the logits of the tokens after them; see `LanguageOutput`.

    The first layer has inputs of width `embedding`, the last has outputs of that width, which the
    tied decoder takes; all widths between them are `hidden`. The first layer has the window of the
    specification, the others 1.

    Attributes:
        taps: names of representations, from the first layer to the last; see `hidden_states`.
    """

    def __init__(self, spec: Architecture, vocabulary_size: int) -> None:
        super().__init__()
        if vocabulary_size < 1:
            raise ValueError(f"vocabulary_size is {vocabulary_size}; it must be at least 1")
        self.spec, self.vocabulary_size = spec, vocabulary_size
        self.encoder = Encoder(vocabulary_size, spec.embedding)
        self.embedding_dropout = EmbeddingDropout(spec.dropout_embedding)
        self.input_dropout = LockedDropout(spec.dropout_input)
        widths = [spec.embedding, *[spec.hidden] * (spec.layers - 1), spec.embedding]
        self.layers = nn.ModuleList(
            QRNNLayer(inputs, outputs, spec.window if number == 0 else 1, spec)
            for number, (inputs, outputs) in enumerate(pairwise(widths))
        )
        self._widths = widths
        self.dropouts = nn.ModuleList(
            LockedDropout(spec.dropout_hidden if number < spec.layers else spec.dropout_output)
            for number in range(1, spec.layers + 1)
        )
        self.decoder = TiedDecoder(vocabulary_size)
        self.taps = ("embedding", *(f"layer{number}" for number in range(1, spec.layers + 1)))

    def initial_state(self, batch: int) -> State:
        """Return a state of zeros: the cell of every layer, (batch, width), then, if the window is
        2, the first layer's previous input, (batch, embedding).
        """
        weight = self.encoder.weight
        cells = [weight.new_zeros(batch, width) for width in self._widths[1:]]
        if self.spec.window == 2:
            cells.append(weight.new_zeros(batch, self.spec.embedding))
        return tuple(cells)

    def forward(self, tokens: torch.Tensor, state: State | None = None) -> LanguageOutput:
        """Compute the logits of the next tokens.

        tokens: (T, B) int64, T at least 1. state: the one after the tokens before; zeros if None.
        """
        representations, state, dropped = self._apply_layers(tokens, state)
        logits = self.decoder(dropped, self.encoder.weight)
        return LanguageOutput(logits, state, representations[-1], dropped)

    @torch.no_grad()
    def hidden_states(
        self, tokens: torch.Tensor, state: State | None = None
    ) -> tuple[dict[str, torch.Tensor], State]:
        """Return the embedded tokens and the output of every layer, each (T, B, width), by tap, and
        the state after them. For evaluation mode.
        """
        representations, state, _ = self._apply_layers(tokens, state)
        return dict(zip(self.taps, representations, strict=True)), state

    def _apply_layers(
        self, tokens: torch.Tensor, state: State | None
    ) -> tuple[list[torch.Tensor], State, torch.Tensor]:
        """Return the representations of all taps, the next state, and the last dropout's output."""
        state = self.initial_state(tokens.shape[1]) if state is None else state
        has_window = self.spec.window == 2
        embedded = self.embedding_dropout(self.encoder(tokens), tokens, self.vocabulary_size)
        x = self.input_dropout(embedded)
        representations, cells = [embedded], []
        last_input = (x[-1],) if has_window else ()
        for number, (layer, dropout) in enumerate(zip(self.layers, self.dropouts, strict=True)):
            previous = state[-1] if has_window and number == 0 else None
            output, cell = layer(x, state[number], previous)
            representations.append(output)
            cells.append(cell)
            x = dropout(output)
        return representations, (*cells, *last_input), x


@plain_defaults()
def build_language_model(
    spec: Architecture, vocabulary_size: int, key: Key, device: str | torch.device = "cpu"
) -> QRNNLanguageModel:
    """Build a language model with initial weights that depend on its shape and `key` alone.

    vocabulary_size: number of different tokens. Call `set_step_key` before each training step.
    Raises ValueError for a vocabulary_size below 1.
    """
    with torch.device("meta"):
        model = QRNNLanguageModel(spec, vocabulary_size)
    model.to_empty(device=device)
    initialize(model, key)
    return model
