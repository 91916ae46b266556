"""The quasi-recurrent language model (Bradbury et al. 2017, "Quasi-Recurrent Neural Networks"),
regularised after Merity et al. 2017, "Regularizing and Optimizing LSTM Language Models".
"""

from itertools import pairwise
from typing import NamedTuple, Protocol

import torch
from torch import nn
from torch.nn import functional as F

from nondet.keys import Key
from nondet.models.dropout import EmbeddingDropout, LockedDropout, WeightDropout, Zoneout
from nondet.models.initialize import initialize
from nondet_ext import qrnn

State = tuple[torch.Tensor, ...]


class Architecture(Protocol):
    """The settings that this model reads; `nondet.LanguageSpec` has them and explains each."""

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
    """What a language model makes of T tokens of B texts.

    logits: (T, B, types) of the tokens that come next. state: what the next segment begins with.
    raw: (T, B, embedding), the last layer's output; dropped: the same after its dropout.
    """

    logits: torch.Tensor
    state: State
    raw: torch.Tensor
    dropped: torch.Tensor


class QRNNLayer(nn.Module):
    """A layer of candidates, forget and output gates over a window of 1 or 2 inputs, and the
    recurrence `nondet_ext.forget_mult` (fo-pooling; Bradbury et al. 2017, Sec. 2.1).
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
        """x: (T, B, inputs). cell: (B, outputs), the state before it. previous: (B, inputs), the
        input before it, where the window is 2. Returns (T, B, outputs), and the state after it.
        """
        drawn = self.zoneout.draw if self.zoneout.active else None
        output, last = qrnn(
            x,
            self.weight_dropout(self.gates.weight),
            self.gates.bias,
            hidden=cell,
            previous=previous,
            window=self.window,
            zoneout=self.zoneout.p,
            key=None if drawn is None else (drawn[0].seed, drawn[0].stream),
            counter=() if drawn is None else drawn[1],
            training=self.training,
        )
        return output, last


class Encoder(nn.Embedding):
    """An embedding whose initial weights are uniform within `uniform_range` of 0 (Merity et al.
    2017, Sec. 5).
    """

    uniform_range = 0.1


class TiedDecoder(nn.Module):
    """A linear layer to logits whose weight is the embedding's (Press and Wolf 2017; Inan et al.
    2017), with an offset of its own for each type, 0 at first.
    """

    draws_nothing = True

    def __init__(self, types: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(types))

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.bias)

    def forward(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return F.linear(x, weight, self.bias)


class QRNNLanguageModel(nn.Module):
    """From tokens (T, B) to the logits of the tokens that come next; see `LanguageOutput`.

    Layer l has inputs of width embedding (the first) or hidden, and outputs of width hidden or
    embedding (the last), which the tied decoder takes. The first layer has the window of the
    specification, the others 1.

    Attributes:
        taps: names of representations, from the first to the last; see `hidden_states`.
    """

    def __init__(self, spec: Architecture, types: int) -> None:
        super().__init__()
        if types < 1:
            raise ValueError(f"types is {types}; it must be at least 1")
        self.spec, self.types = spec, types
        self.encoder = Encoder(types, spec.embedding)
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
        self.decoder = TiedDecoder(types)
        self.taps = ("embedding", *(f"layer{number}" for number in range(1, spec.layers + 1)))

    def initial_state(self, batch: int) -> State:
        """Zeros: the cell of every layer, (batch, width), then, where the window is 2, the first
        layer's input before them, (batch, embedding).
        """
        weight = self.encoder.weight
        cells = [weight.new_zeros(batch, width) for width in self._widths[1:]]
        if self.spec.window == 2:
            cells.append(weight.new_zeros(batch, self.spec.embedding))
        return tuple(cells)

    def forward(self, tokens: torch.Tensor, state: State | None = None) -> LanguageOutput:
        """tokens: (T, B) int64, T at least 1. state: of the tokens before; zeros if None."""
        representations, state, dropped = self._run(tokens, state)
        logits = self.decoder(dropped, self.encoder.weight)
        return LanguageOutput(logits, state, representations[-1], dropped)

    @torch.no_grad()
    def hidden_states(
        self, tokens: torch.Tensor, state: State | None = None
    ) -> tuple[dict[str, torch.Tensor], State]:
        """The embedded tokens and the outputs of every layer, (T, B, width) each, by tap, and the
        state after them. For evaluation mode.
        """
        representations, state, _ = self._run(tokens, state)
        return dict(zip(self.taps, representations, strict=True)), state

    def _run(
        self, tokens: torch.Tensor, state: State | None
    ) -> tuple[list[torch.Tensor], State, torch.Tensor]:
        state = self.initial_state(tokens.shape[1]) if state is None else state
        looks_back = self.spec.window == 2
        embedded = self.embedding_dropout(self.encoder(tokens), tokens, self.types)
        x = self.input_dropout(embedded)
        representations, following = [embedded], []
        last_input = (x[-1],) if looks_back else ()
        for number, (layer, dropout) in enumerate(zip(self.layers, self.dropouts, strict=True)):
            previous = state[-1] if looks_back and number == 0 else None
            output, cell = layer(x, state[number], previous)
            representations.append(output)
            following.append(cell)
            x = dropout(output)
        return representations, (*following, *last_input), x


def build_language_model(
    spec: Architecture, types: int, key: Key, device: str | torch.device = "cpu"
) -> QRNNLanguageModel:
    """A language model for so many word types with its initial weights, which depend on its shape
    and on `key` alone. Before each step in training mode `set_step_key` must say what is drawn.

    Raises ValueError for types below 1.
    """
    with torch.device("meta"):
        model = QRNNLanguageModel(spec, types)
    model.to_empty(device=device)
    initialize(model, key)
    return model
