"""Compare digests with torch.hash_tensor and the machine's copy bandwidth."""

import pytest
import torch

import nondet_ext
from harness import Bench, Contender, copy_ceilings


@pytest.mark.parametrize("who", ["ours", "torch", "copy (torch)", "copy (NumPy)"])
def test_fingerprint(bench: Bench, who: str) -> None:
    x = nondet_ext.philox_normal(bench.size(10**8), seed=1)
    read = 4 * x.numel()
    contenders = {
        "ours": Contender("fingerprint", "ours", lambda: nondet_ext.fingerprint(x), read),
        "torch": Contender("torch.hash_tensor", "peer", lambda: torch.hash_tensor(x), read),
        **copy_ceilings(read),
    }
    if who == "torch":  # check that both read all data: a flipped bit changes each
        before = contenders["ours"].run(), contenders["torch"].run()
        nondet_ext.flip_bit(x, [-1], 3)
        assert contenders["ours"].run() != before[0]
        assert contenders["torch"].run() != before[1]
    bench.time("fingerprint, float32, 1e8", contenders[who])
