"""Compare digests with torch.hash_tensor and the machine's copy bandwidth."""

import torch

import nondet_ext
from harness import Bench, Contender, copy_ceilings


def test_fingerprint(bench: Bench) -> None:
    x = nondet_ext.philox_normal(bench.size(10**8), seed=1)
    read = 4 * x.numel()
    ours = Contender("fingerprint", "ours", lambda: nondet_ext.fingerprint(x), read)
    peer = Contender("torch.hash_tensor", "peer", lambda: torch.hash_tensor(x), read)
    # Both read all data: a flipped bit changes each.
    before = ours.run(), peer.run()
    nondet_ext.flip_bit(x, [-1], 3)
    assert ours.run() != before[0]
    assert peer.run() != before[1]
    bench.time("fingerprint, float32, 1e8", ours, peer, *copy_ceilings(read))
