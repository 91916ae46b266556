"""Compare digests with torch.hash_tensor and the machine's copy bandwidth."""

import pytest
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


def test_many_small_tensors(bench: Bench) -> None:
    tensors = list(nondet_ext.philox_normal((1000, 64), seed=1))
    read = 4 * 64 * len(tensors)
    ours = Contender("fingerprints", "ours", lambda: nondet_ext.fingerprints(tensors), read)
    alone = Contender(
        "fingerprint, one by one",
        "peer",
        lambda: [nondet_ext.fingerprint(x) for x in tensors],
        read,
    )
    peer = Contender(
        "torch.hash_tensor, one by one",
        "peer",
        lambda: [torch.hash_tensor(x) for x in tensors],
        read,
    )
    assert ours.run() == alone.run()
    bench.time("fingerprints of 1,000 tensors, float32, 64", ours, alone, peer, rounds=25)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_layouts(bench: Bench, layout: torch.memory_format) -> None:
    x = nondet_ext.philox_normal((2 if bench.smoke else 128, 16, 32, 32), seed=1)
    x = x.contiguous(memory_format=layout)
    ours = Contender("fingerprints", "ours", lambda: nondet_ext.fingerprints([x]), x.nbytes)
    peer = Contender("torch.hash_tensor", "peer", lambda: torch.hash_tensor(x), x.nbytes)
    assert ours.run() == [nondet_ext.fingerprint(x.clone(memory_format=torch.contiguous_format))]
    kind = str(layout).removeprefix("torch.")
    bench.time(f"fingerprints, 128x16x32x32, {kind}", ours, peer)
