"""One training, from its initial weights to its result.

Import from the modules of this package: it imports none of them, because most load torch.

cuBLAS is deterministic only with a fixed workspace. torch reads the variable for it once, at the
first product on a GPU in the process, so it is set here, as early as a training can be foreseen.
`import nondet` alone leaves it: a program that is traced keeps its environment.
"""

import os

WORKSPACE_VARIABLE = "CUBLAS_WORKSPACE_CONFIG"

os.environ.setdefault(WORKSPACE_VARIABLE, ":4096:8")
