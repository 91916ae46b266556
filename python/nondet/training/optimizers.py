"""torch's optimizers, built from a configuration, and their state by parameter name."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
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
    """Make the optimizer that a configuration names for a model's parameters.

    It has two parameter groups: weights, and everything one-dimensional (biases, batch-norm scales
    and offsets), whose learning rate is `bias_lr_scale` times as high. With `bias_lr_scope`
    "published", one-dimensional parameters that match the model's `full_rate` count as weights.
    Call `set_lr` before every step.

    sgd: with momentum, v <- momentum v + g, w <- w - lr v (Sutskever et al. 2013, "On the
    importance of initialization and momentum", with lr outside v). nesterov: the same with
    w <- w - lr (g + momentum v). adam: Kingma and Ba 2015, "Adam", algorithm 1, beta 1 = momentum.
    adamw: Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization", algorithm 2, with
    the decay multiplied by lr, as in torch. Weight decay acts on both groups; in the other
    optimizers it is L2 regularization: weight_decay w is part of the gradient g.
    """
    patterns = getattr(model, "full_rate", ()) if config.bias_lr_scope == "published" else ()
    full: list[nn.Parameter] = []
    scaled: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        weight = parameter.dim() > 1 or any(fnmatchcase(name, pattern) for pattern in patterns)
        (full if weight else scaled).append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": full, "lr_scale": 1.0},
        {"params": scaled, "lr_scale": config.bias_lr_scale},
    ]
    # A fused step makes one pass over each parameter, a loop of tensor operations several.
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
    """Return the optimizer's live state tensors as "<parameter>.<slot>", in the model's order.

    The slots are momentum_buffer for SGD, and step (0-d float32), exp_avg and exp_avg_sq for Adam
    and AdamW; all but step have the parameter's shape and dtype. Tensors that the optimizer has not
    made yet are left out; before the first step that is all of them.
    """
    return {
        f"{name}.{slot}": optimizer.state[parameter][slot]
        for name, parameter in model.named_parameters()
        if parameter in optimizer.state
        for slot in _slots(optimizer)
        if isinstance(optimizer.state[parameter].get(slot), torch.Tensor)
    }


def expected_state(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, torch.Tensor]:
    """Return tensors without data, with the names, shapes and dtypes that `named_state` has once
    every parameter had a gradient. SGD without momentum has no state.
    """
    if isinstance(optimizer, torch.optim.SGD) and not optimizer.param_groups[0]["momentum"]:
        return {}
    return {
        f"{name}.{slot}": torch.empty((), dtype=torch.float32, device="meta")
        if slot == "step"
        else torch.empty_like(parameter, device="meta")
        for name, parameter in model.named_parameters()
        for slot in _slots(optimizer)
    }


def load_named_state(
    optimizer: torch.optim.Optimizer, model: nn.Module, tensors: Mapping[str, torch.Tensor]
) -> None:
    """Set the optimizer's state to a copy of `tensors`, the `named_state` of another optimizer:
    further steps give the same bits as there. An empty mapping is the state of a new optimizer.

    Raises ValueError, before anything changes, for an unknown parameter or slot, a wrong shape or
    dtype, or a parameter with only some of its slots.
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
        # torch expects the step on the CPU, and moves it if the fused optimizer needs it elsewhere.
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
    """Return the names of the optimizer's state tensors. Raises TypeError for another optimizer."""
    if type(optimizer) not in _SLOTS:
        raise TypeError(
            f"optimizer is a {type(optimizer).__name__}; known: "
            + ", ".join(kind.__name__ for kind in _SLOTS)
        )
    return _SLOTS[type(optimizer)]
