"""What a language model makes of a text: always as one piece, block after block, so that every
token is predicted from all before it.
"""

import hashlib
from collections.abc import Iterator

import numpy as np
import torch

from nondet.models import QRNNLanguageModel
from nondet.training.result import TokenPredictions

EVALUATION_TOKENS = 1024
"""Tokens predicted at once. A constant, because the bits of a logit may depend on it."""


@torch.no_grad()
def logit_blocks(
    model: QRNNLanguageModel, tokens: torch.Tensor, begin: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The logits of every token of a text, (n, types) float32, with the tokens themselves, (n,),
    block by block in evaluation mode, in which the model is left.

    tokens: (tokens,) int64 on the model's device. begin: the type that stands before the first one
    (the end of a sentence), so that it is predicted as well.
    """
    model.eval()
    state = model.initial_state(1)
    wanted = tokens.split(EVALUATION_TOKENS)
    for given, right in zip(_inputs(tokens, begin), wanted, strict=True):
        output = model(given, state)
        state = output.state
        yield output.logits[:, 0], right


def representation_blocks(
    model: QRNNLanguageModel, tokens: torch.Tensor, begin: int
) -> Iterator[dict[str, torch.Tensor]]:
    """What the layers make of what comes before every token of a text, (n, width) float32 by tap,
    in the blocks of `logit_blocks`, with the same arguments.
    """
    model.eval()
    state = model.initial_state(1)
    for given in _inputs(tokens, begin):
        found, state = model.hidden_states(given, state)
        yield {tap: x[:, 0] for tap, x in found.items()}


def _inputs(tokens: torch.Tensor, begin: int) -> tuple[torch.Tensor, ...]:
    """What stands before each token, (n, 1) block by block."""
    first = torch.tensor([begin], device=tokens.device)
    blocks: tuple[torch.Tensor, ...] = torch.cat([first, tokens[:-1]])[:, None].split(
        EVALUATION_TOKENS
    )
    return blocks


def predict_tokens(model: QRNNLanguageModel, tokens: torch.Tensor, begin: int) -> TokenPredictions:
    """What a model predicts of a text; arguments as of `logit_blocks`."""
    digest = hashlib.sha256()
    chances, predicted = [], []
    for logits, wanted in logit_blocks(model, tokens, begin):
        digest.update(np.ascontiguousarray(logits.cpu().numpy()).tobytes())
        chances.append(log_probabilities(logits, wanted))
        predicted.append(logits.argmax(1).to(torch.int32))
    return TokenPredictions(
        torch.cat(chances).cpu().numpy(), torch.cat(predicted).cpu().numpy(), digest.hexdigest()
    )


def mean_loss(model: QRNNLanguageModel, tokens: torch.Tensor, begin: int) -> float:
    """The cross-entropy of a text in nats per token."""
    blocks = logit_blocks(model, tokens, begin)
    return -float(torch.cat([log_probabilities(*block) for block in blocks]).mean())


def log_probabilities(logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """The logarithm of the probability of each token that came, (n,) float64."""
    wide = logits.double()
    right: torch.Tensor = wide.gather(1, wanted[:, None])[:, 0] - wide.logsumexp(1)
    return right
