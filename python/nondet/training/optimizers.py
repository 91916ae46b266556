"""torch's optimizers as a configuration asks for them, and their state by parameter name."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from nondet.studies.config import RunConfig

_SLOTS = {
    torch.optim.SGD: ("momentum_buffer",),
    torch.optim.Adam: ("step", "exp_avg", "exp_avg_sq"),
    torch.optim.AdamW: ("step", "exp_avg", "exp_avg_sq"),
}


def make_optimizer(model: nn.Module, config: RunConfig) -> torch.optim.Optimizer:
    """The optimizer of a configuration over a model's parameters, in two groups: weights, and
    biases with batch-norm scales (all that is one-dimensional), which learn at `bias_lr_scale`
    times the rate. `set_lr` must set the rate before every step.

    sgd: with momentum, v <- momentum v + g, w <- w - rate v (Sutskever et al. 2013, "On the
    importance of initialization and momentum", with the rate outside v). nesterov: the same with
    w <- w - rate (g + momentum v). adam: Kingma and Ba 2015, "Adam", algorithm 1, beta 1 =
    momentum. adamw: Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization",
    algorithm 2, in torch's reading: the decay is multiplied by the rate. In the others weight decay
    is L2: weight_decay w is part of the gradient g. It is on for both groups.
    """
    parameters = list(model.parameters())
    groups: list[dict[str, Any]] = [
        {"params": [x for x in parameters if x.dim() > 1], "lr_scale": 1.0},
        {"params": [x for x in parameters if x.dim() <= 1], "lr_scale": config.bias_lr_scale},
    ]
    # Fused: one pass over each parameter, where the loop of tensor operations makes several.
    common: dict[str, Any] = {
        "lr": config.lr,
        "weight_decay": config.weight_decay,
        "fused": True,
    }
    if config.optimizer in ("sgd", "nesterov"):
        nesterov = config.optimizer == "nesterov"
        return torch.optim.SGD(groups, momentum=config.momentum, nesterov=nesterov, **common)
    kind = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
    betas = (config.momentum, config.adam_beta2)
    return kind(groups, betas=betas, eps=config.adam_eps, **common)


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of the next step: `lr` times the scale of each parameter group."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_scale"]


def named_state(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, torch.Tensor]:
    """What the optimizer carries from step to step, live, as "<parameter>.<slot>", in the order of
    the model. SGD: momentum_buffer; Adam and AdamW: step (0-d float32), exp_avg, exp_avg_sq; all
    but step have the parameter's shape and dtype. What the optimizer has not made yet (everything
    before the first step) is not there.
    """
    return {
        f"{name}.{slot}": optimizer.state[parameter][slot]
        for name, parameter in model.named_parameters()
        if parameter in optimizer.state
        for slot in _slots(optimizer)
        if isinstance(optimizer.state[parameter].get(slot), torch.Tensor)
    }


def load_named_state(
    optimizer: torch.optim.Optimizer, model: nn.Module, tensors: Mapping[str, torch.Tensor]
) -> None:
    """Makes copies of `tensors`, a `named_state`, the optimizer's state: further steps are those of
    the optimizer that it is from, bit for bit. An empty one is that of a new optimizer.

    Raises ValueError, before anything changes, for a name that the model or the optimizer does not
    have, for a shape or dtype that does not fit, and where a parameter has some of its slots only.
    """
    slots = _slots(optimizer)
    parameters = dict(model.named_parameters())
    state: dict[str, dict[str, torch.Tensor]] = {}
    for full_name, tensor in tensors.items():
        name, _, slot = full_name.rpartition(".")
        if name not in parameters or slot not in slots:
            raise ValueError(
                f"the state has {full_name!r}; expected a parameter of the model, then one of "
                + ", ".join(f".{known}" for known in slots)
            )
        parameter = parameters[name]
        shape = torch.Size() if slot == "step" else parameter.shape
        dtype = torch.float32 if slot == "step" else parameter.dtype
        if tensor.shape != shape or tensor.dtype != dtype:
            raise ValueError(
                f"{full_name!r} is {tensor.dtype} of shape {tuple(tensor.shape)}; expected "
                f"{dtype} of shape {tuple(shape)}"
            )
        # torch reads the step on the CPU, and itself moves it where a fused optimizer wants it.
        copy = torch.empty_like(tensor, device="cpu" if slot == "step" else parameter.device)
        state.setdefault(name, {})[slot] = copy.copy_(tensor)
    for name, found in state.items():
        if missing := [slot for slot in slots if slot not in found]:
            raise ValueError(f"the state of {name!r} lacks {', '.join(missing)}")

    names = {id(parameter): name for name, parameter in parameters.items()}
    order = [names[id(x)] for group in optimizer.param_groups for x in group["params"]]
    optimizer.load_state_dict(
        {
            "state": {i: state[name] for i, name in enumerate(order) if name in state},
            "param_groups": optimizer.state_dict()["param_groups"],
        }
    )


def _slots(optimizer: torch.optim.Optimizer) -> tuple[str, ...]:
    if type(optimizer) not in _SLOTS:
        raise TypeError(
            f"optimizer is a {type(optimizer).__name__}; known: "
            + ", ".join(kind.__name__ for kind in _SLOTS)
        )
    return _SLOTS[type(optimizer)]
