import pytest

from nondet.keys import Key
from nondet.studies.seeds import HELD, SOURCES, STREAMS, Seeds, philox_key, varied


def test_every_seed_is_held_by_default_and_has_a_key_of_its_own():
    assert [getattr(Seeds(), source) for source in SOURCES] == [1] * 6
    assert len({Seeds().key(source) for source in SOURCES}) == 6
    assert set(STREAMS) == set(SOURCES)


def test_key_holds_seed_and_stream():
    assert philox_key("shuffle", 2**32 - 1) == Key(seed=2**32 - 1, stream=STREAMS["shuffle"])


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seed_out_of_range_is_refused(seed):
    with pytest.raises(ValueError, match=rf"the bit seed is {seed}; it must lie in"):
        Seeds(bit=seed)


@pytest.mark.parametrize("seed", [1.0, True, "1"])
def test_seed_that_is_no_integer_is_refused(seed):
    with pytest.raises(TypeError, match="the init seed"):
        Seeds(init=seed)


def test_unknown_source_is_refused():
    with pytest.raises(ValueError, match=r"source is 'luck'; known sources: init, shuffle"):
        philox_key("luck", 1)


def test_varied_seeds_move_in_tandem_and_never_meet_the_held_value():
    rows = [varied(("init", "bit"), run) for run in range(5)]
    assert [(seeds.init, seeds.bit) for seeds in rows] == [(n, n) for n in (2, 3, 4, 5, 6)]
    assert all(seeds.shuffle == HELD for seeds in rows)
    assert varied((), 3) == Seeds()
    with pytest.raises(ValueError, match="run is -1"):
        varied(("init",), -1)
