"""Predictions of a language model. A text is read as one sequence, block after block, so that every
token is predicted from all tokens before it.
"""

import hashlib
from collections.abc import Iterator

import numpy as np
import torch

from nondet.models import QRNNLanguageModel
from nondet.training.result import TokenPredictions

EVALUATION_TOKENS = 1024
"""Tokens per forward pass. A constant, because the bits of a logit may depend on it."""


@torch.no_grad()
def logit_blocks(
    model: QRNNLanguageModel, tokens: torch.Tensor, begin: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield the logits of every token, (n, vocabulary_size) float32, and the tokens, (n,), block by
    block. The model is set to evaluation mode and left in it.

    tokens: (length,) int64 on the model's device. begin: the token to put before the first one (the
    end of a sentence), so that the first one is predicted as well.
    """
    model.eval()
    state = model.initial_state(1)
    targets = tokens.split(EVALUATION_TOKENS)
    for inputs, target in zip(_input_blocks(tokens, begin), targets, strict=True):
        output = model(inputs, state)
        state = output.state
        yield output.logits[:, 0], target


def representation_blocks(
    model: QRNNLanguageModel, tokens: torch.Tensor, begin: int
) -> Iterator[dict[str, torch.Tensor]]:
    """Yield the representations from which every token is predicted, (n, width) float32 by tap, in
    the blocks of `logit_blocks`, whose arguments these are.
    """
    model.eval()
    state = model.initial_state(1)
    for inputs in _input_blocks(tokens, begin):
        found, state = model.hidden_states(inputs, state)
        yield {tap: x[:, 0] for tap, x in found.items()}


def _input_blocks(tokens: torch.Tensor, begin: int) -> tuple[torch.Tensor, ...]:
    """Return the token before each token, in blocks (n, 1)."""
    first = torch.tensor([begin], device=tokens.device)
    blocks: tuple[torch.Tensor, ...] = torch.cat([first, tokens[:-1]])[:, None].split(
        EVALUATION_TOKENS
    )
    return blocks


def predict_tokens(model: QRNNLanguageModel, tokens: torch.Tensor, begin: int) -> TokenPredictions:
    """Predict every token of a text; the arguments are those of `logit_blocks`."""
    digest = hashlib.sha256()
    log_probs, predicted = [], []
    for logits, target in logit_blocks(model, tokens, begin):
        digest.update(np.ascontiguousarray(logits.cpu().numpy()).tobytes())
        log_probs.append(log_probabilities(logits, target))
        predicted.append(logits.argmax(1).to(torch.int32))
    return TokenPredictions(
        torch.cat(log_probs).cpu().numpy(), torch.cat(predicted).cpu().numpy(), digest.hexdigest()
    )


def mean_loss(model: QRNNLanguageModel, tokens: torch.Tensor, begin: int) -> float:
    """Compute the cross-entropy of a text in nats per token; see `logit_blocks`."""
    blocks = logit_blocks(model, tokens, begin)
    return -float(torch.cat([log_probabilities(*block) for block in blocks]).mean())


def log_probabilities(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the logarithm of the probability of each target token, (n,) float64."""
    wide = logits.double()
    found: torch.Tensor = wide.gather(1, target[:, None])[:, 0] - wide.logsumexp(1)
    return found
