"""cuDNN's nondeterministic algorithms, as the paper used them (Sec. 3.1)."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def vendor_nondeterminism() -> Iterator[None]:
    """Let cuDNN choose algorithms that race within the context, then restore the settings.

    Its deterministic flag is off and its autotuner on; torch's deterministic algorithms are off
    too, because they would overrule the flag. This permits races and makes none: cuDNN may choose
    algorithms that do not race, and its autotuner keeps its choice until the process ends (see
    `nondet.execute.repeating`). A CPU does not use cuDNN.
    """
    algorithms = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    deterministic = torch.backends.cudnn.deterministic
    benchmark = torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic = False
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(algorithms, warn_only=warn_only)
        torch.backends.cudnn.deterministic = deterministic
        torch.backends.cudnn.benchmark = benchmark
