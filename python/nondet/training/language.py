"""The training of a language model, after Merity et al. 2017, "Regularizing and Optimizing LSTM
Language Models".
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_

from nondet.data import TextDataset
from nondet.keys import Key
from nondet.models import QRNNLanguageModel, build_language_model, set_step_key, stochastic_layers
from nondet.studies.config import RunConfig
from nondet.studies.seeds import Onset, Seeds, effective
from nondet.training.checkpoint import with_prefix
from nondet.training.checkpoint_files import Record
from nondet.training.evaluation import weights_sha256
from nondet.training.optimizers import set_lr
from nondet.training.result import EpochRecord, Result, TokenPredictions
from nondet.training.schedules import check_batch, lr_at
from nondet.training.segments import segment_lengths
from nondet.training.text_evaluation import mean_loss, predict_tokens
from nondet.training.training import Recorder, Training


class LanguageTraining(Training):
    """The training of a language model; see `Training`.

    The training text is cut into `batch_size` equal pieces that are read in parallel; the rest at
    its end is left out. A step reads the next segment of every piece. The network's state is passed
    on from segment to segment, without its gradient, and every epoch begins with a state of zeros.
    The learning rate of a step is proportional to the length of its segment (Merity et al. 2017,
    Sec. 5).

    The result is of the last epoch, or with `language.tested` "best" of the first with the lowest
    validation loss; the history holds the test results after every epoch.

    Attributes:
        valid_losses: cross-entropy on the validation text after each epoch, in nats per token.
    """

    model: QRNNLanguageModel

    def __init__(
        self,
        config: RunConfig,
        seeds: Seeds,
        dataset: TextDataset,
        onset: Onset | None = None,
        recorders: Sequence[Recorder] = (),
    ) -> None:
        if config.language is None:
            raise ValueError(
                f"language is not given, but the data set {config.dataset!r} is a text"
            )
        onset = onset if onset is not None else Onset()
        self.spec, self.dataset = config.language, dataset
        check_batch(config, len(dataset.train))
        self._columns = _columns(dataset.train, config.batch_size)
        steps = len(self._columns) - 1  # the last token has no successor to predict
        self._lengths = [
            segment_lengths(self.spec, steps, _stochastic_key(config, seeds, onset, epoch), epoch)
            for epoch in range(config.epochs)
        ]
        model = build_language_model(self.spec, dataset.classes, seeds.key("init"), config.device)
        ends = np.cumsum([len(lengths) for lengths in self._lengths]).tolist()
        super().__init__(config, seeds, onset, model, ends, (self.spec.bptt, config.batch_size))
        self.valid_losses: list[float] = []
        self._best: dict[str, torch.Tensor] = {}  # weights of the best epoch, if it is tested
        self._stochastic = stochastic_layers(model)
        self._state = model.initial_state(config.batch_size)
        self._start_recorders(recorders)

    def result(self) -> Result:
        """Return the result of the finished training. Raises RuntimeError before the last step."""
        self._check_finished()
        with self.final_model() as model:
            predictions = predict_tokens(model, self.dataset.test, self.dataset.end_of_sentence)
        records = {recorder.name: recorder.arrays(self) for recorder in self.recorders}
        return Result(self.history, None, self.perturbations, None, records, predictions)

    # -- a step's parts ------------------------------------------------------------------------

    def _compute_gradients(self, epoch: int, number: int, seeds: Seeds) -> None:
        lengths = self._lengths[epoch]
        begin, length = sum(lengths[:number]), lengths[number]
        inputs = self._columns[begin : begin + length]
        targets = self._columns[begin + 1 : begin + 1 + length]
        if number == 0:
            self._state = self.model.initial_state(self.config.batch_size)
        set_lr(self.optimizer, self._lr_at(epoch, number))
        set_step_key(self._stochastic, seeds.key("stochastic"), self.step)
        output = self.model(inputs, self._state)
        loss = cross_entropy(output.logits.flatten(0, 1), targets.flatten())
        self._loss_sum += loss.detach() * length
        spec = self.spec
        if spec.activation_reg > 0:
            loss = loss + spec.activation_reg * output.dropped.square().mean()
        if spec.temporal_reg > 0 and length > 1:
            changes = output.raw[1:] - output.raw[:-1]
            loss = loss + spec.temporal_reg * changes.square().mean()
        loss.backward()
        self._state = tuple(tensor.detach() for tensor in output.state)
        self._perturb("gradient")
        if spec.clip > 0:
            clip_grad_norm_(self.model.parameters(), spec.clip)

    def _lr_at(self, epoch: int, number: int) -> float:
        """Return the learning rate of a step: the schedule's, times the length of its segment over
        the mean length.
        """
        lengths = self._lengths[epoch]
        lr = lr_at(self.config, epoch * len(lengths) + number, len(lengths))
        return lr * lengths[number] / self.spec.bptt

    def _update_averaging(self, epoch: int) -> None:
        if self.averaging is None:
            return
        if self.config.averaging == "triggered" and not self.triggered:
            return
        self.averaging.update(self.model, epoch + 1, 1)

    @property
    def triggered(self) -> bool:
        """True once the averaging "triggered" has begun: after an epoch whose validation loss is
        above the lowest of the epochs more than `trigger` before it (Merity et al. 2017, Alg. 1).
        """
        patience, losses = self.spec.trigger, self.valid_losses
        return any(
            losses[epoch] > min(losses[: epoch - patience])
            for epoch in range(patience + 1, len(losses))
        )

    # -- an epoch's end ------------------------------------------------------------------------

    def _end_epoch(self, epoch: int) -> None:
        config = self.config
        lengths = self._lengths[epoch - 1]
        train_loss = self._mean_train_loss(epoch, sum(lengths))
        accuracy = entropy = None
        with self.evaluation_model() as model:
            valid = mean_loss(model, self.dataset.valid, self.dataset.end_of_sentence)
            if self.spec.tested == "best" and valid < min(self.valid_losses, default=math.inf):
                self._best = {name: x.clone() for name, x in model.state_dict().items()}
        if not math.isfinite(valid):
            raise self.diverged(f"the validation loss is {valid}", epoch)
        self.valid_losses.append(valid)
        if epoch % config.evaluate_every == 0 or epoch == config.epochs:
            predictions = self._predict()
            if not np.isfinite(predictions.log_probabilities).all():
                raise self.diverged("predictions are not finite", epoch)
            accuracy = float((predictions.predicted == self.dataset.test.cpu().numpy()).mean())
            entropy = float(-predictions.log_probabilities.mean())
        self.history.append(
            EpochRecord(
                epoch,
                self._lr_at(epoch - 1, len(lengths) - 1),
                train_loss,
                accuracy,
                entropy,
                weights_sha256(self.model),
                valid,
            )
        )

    def _predict(self) -> TokenPredictions:
        """Predict the tokens of the test text."""
        with self.evaluation_model() as model:
            return predict_tokens(model, self.dataset.test, self.dataset.end_of_sentence)

    @contextmanager
    def final_model(self) -> Iterator[QRNNLanguageModel]:
        """See `Training`."""
        if not self._best:
            with self.evaluation_model() as model:
                yield model
            return
        before = {name: x.clone() for name, x in self.model.state_dict().items()}
        try:
            self.model.load_state_dict(self._best)
            yield self.model
        finally:
            self.model.load_state_dict(before)

    # -- states --------------------------------------------------------------------------------

    def _extra_tensors(self) -> dict[str, torch.Tensor]:
        return {f"best.{name}": x for name, x in self._best.items()}

    def _expected_extra(self, epochs: int) -> dict[str, torch.Tensor]:
        if self.spec.tested == "last" or epochs == 0:
            return {}
        return {f"best.{name}": x for name, x in self.model.state_dict().items()}

    def _carried_tensors(self) -> dict[str, dict[str, torch.Tensor]]:
        return {"state": {str(number): tensor for number, tensor in enumerate(self._state)}}

    def _extra_record(self) -> dict[str, Any]:
        return {"valid_losses": self.valid_losses}

    def _check_record(self, step: int, record: Mapping[str, Any]) -> Record:
        checked = super()._check_record(step, record)
        losses, epochs = checked.get("valid_losses", []), len(checked["history"])
        if len(losses) != epochs:
            raise ValueError(
                f"the checkpoint does not fit: it has {len(losses)} valid_losses; after {epochs} "
                f"epochs there are {epochs}"
            )
        return checked

    def _load_extra(self, tensors: Mapping[str, torch.Tensor], record: Record | None) -> None:
        named = with_prefix(tensors, "state")
        self._state = tuple(named[str(number)].clone() for number in range(len(named)))
        self._best = {name: x.clone() for name, x in with_prefix(tensors, "best").items()}
        self.valid_losses = [] if record is None else list(record.get("valid_losses", []))


def _columns(tokens: torch.Tensor, batch_size: int) -> torch.Tensor:
    """Cut a text into columns, (length, batch_size)."""
    length = len(tokens) // batch_size
    return tokens[: length * batch_size].view(batch_size, length).t().contiguous()


def _stochastic_key(config: RunConfig, seeds: Seeds, onset: Onset, epoch: int) -> Key:
    """Return the key of the stochastic operations of an epoch."""
    return effective(seeds, onset, epoch, config.held_seed).key("stochastic")
