"""The number of threads of CPU kernels."""

import torch


def cpu_threads() -> int:
    """Return the number of threads for a CPU kernel called now. The atomic order takes at least
    two, because one cannot race.
    """
    return torch.get_num_threads()
