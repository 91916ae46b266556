"""What the paper did (Sec. 3.1): cuDNN is let choose algorithms that race."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def vendor_nondeterminism() -> Iterator[None]:
    """cuDNN's deterministic flag off and its autotuner on, also where torch's deterministic
    algorithms are asked for, which would overrule the flag; afterwards the caller's settings again.
    Changes nothing on a CPU.
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
