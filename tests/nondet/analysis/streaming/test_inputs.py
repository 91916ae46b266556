"""Test the errors and warnings of the measures of language models, and the smallest inputs."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import nondet_ext
from factories.sources import MadeSource, Models, same
from nondet.analysis.streaming import measure


@pytest.fixture(scope="module")
def models() -> Models:
    return Models(3, 70, 6, widths=(4,))


def compute(models: Models, scratch: Path, sources=None, **changes):
    given = {
        "labels": models.labels,
        "log_probabilities": models.log_probabilities,
        "predicted": models.predicted,
        "scratch": scratch,
    }
    return measure(models.sources([30]) if sources is None else sources, **{**given, **changes})


def changed(array: np.ndarray, at: tuple[int, ...], value: float) -> np.ndarray:
    copy = array.copy()
    copy[at] = value
    return copy


@pytest.mark.parametrize(
    ("name", "change", "error", "match"),
    [
        ("labels", lambda x: x[:-1], ValueError, r"shape \(70,\), got \(69,\)"),
        ("labels", lambda x: changed(x, (3,), 6), ValueError, r"lie in \[0, 6\), got 0..6"),
        ("labels", lambda x: changed(x, (3,), -1), ValueError, r"got -1..5"),
        ("labels", lambda x: x / 1, TypeError, "integers, got float64"),
        ("labels", lambda x: list(x), TypeError, "numpy array, got list"),
        ("log_probabilities", lambda x: x[:2], ValueError, r"shape \(3, 70\), got \(2, 70\)"),
        ("log_probabilities", lambda x: x.astype("f4"), TypeError, "float64, got float32"),
        (
            "log_probabilities",
            lambda x: changed(x, (2, 7), -np.inf),
            ValueError,
            r"finite, got -inf at \[2, 7\]",
        ),
        ("log_probabilities", lambda x: x[::-1].copy(), ValueError, r"be those of sources\[0\]"),
        ("log_probabilities", lambda x: x - [[0], [0.02], [0]], ValueError, r"sources\[1\].*0.02"),
        ("predicted", lambda x: x[:, 1:], ValueError, r"shape \(3, 70\), got \(3, 69\)"),
        ("predicted", lambda x: changed(x, (0, 0), 6), ValueError, r"lie in \[0, 6\)"),
        ("predicted", lambda x: x > 2, TypeError, "integers, got bool"),
        ("predicted", lambda x: x[[0, 2, 1]], ValueError, r"the largest logits of sources\[1\]"),
        (
            "ensemble",
            lambda _: "mean",
            ValueError,
            "ensemble is 'mean'; known: prob",
        ),
        ("memory", lambda _: "2 G", ValueError, "memory must be bytes or a string"),
        ("disk", lambda _: 0, ValueError, "disk must be"),
        ("keys", lambda _: ["a"], ValueError, "3, one for each source, got 1"),
    ],
)
def test_invalid_arguments_are_refused(models, tmp_path, name, change, error, match):
    with pytest.raises(error, match=match) as caught:
        compute(models, tmp_path / "s", **{name: change(getattr(models, name, None))})
    assert str(caught.value).startswith(name)
    # The folder exists only if the sources were read before the error.
    assert not (tmp_path / "s").exists() or "sources" in str(caught.value)


def test_sources_that_do_not_fit_are_refused(models, tmp_path):
    sources = models.sources()
    with pytest.raises(ValueError, match=r"sources must be at least two.*got 1"):
        compute(models, tmp_path, sources[:1])
    other = Models(3, 70, 7).sources()[0]
    with pytest.raises(ValueError, match=r"sources\[2\] must have 6 types.*: 7"):
        compute(models, tmp_path, [*sources[:2], other])
    other = Models(3, 71, 6).sources()[0]
    with pytest.raises(ValueError, match=r"sources\[1\] must have 70 tokens.*: 71"):
        compute(models, tmp_path, [sources[0], other, sources[2]])
    few = Models(2, 3, 6)
    with pytest.raises(ValueError, match=r"at least 4 tokens.*got 3"):
        compute(few, tmp_path, few.sources())
    assert list(tmp_path.iterdir()) == []


def nan(x: np.ndarray) -> np.ndarray:
    return changed(x, (5, 1), np.nan)


@pytest.mark.parametrize(
    ("part", "change", "error", "match"),
    [
        ("blocks", nan, ValueError, r"finite values, got nan in row 35, column 1"),
        ("blocks", lambda x: changed(x, (5, 1), -np.inf), ValueError, "got -inf in row 35"),
        ("blocks", lambda x: changed(x, (5, 1), np.inf), ValueError, "got inf in row 35"),
        ("blocks", lambda x: x[:, :5], ValueError, r"shapes \(n, 6\), got \(30, 5\)"),
        ("blocks", lambda x: x[0], ValueError, r"shapes \(n, 6\), got \(6,\)"),
        ("blocks", lambda x: x[1:], ValueError, "70 rows in all, got 69"),
        ("blocks", lambda x: np.concatenate([x, x]), ValueError, "70 rows in all, got 90 or more"),
        ("blocks", lambda x: x.astype("f8"), TypeError, "float32 arrays, got float64"),
        ("blocks", lambda x: torch.from_numpy(x), TypeError, "float32 arrays, got Tensor"),
        ("hidden", nan, ValueError, r"\['layer4'\] must yield finite values, got nan in row 35"),
        ("hidden", lambda x: x[:, :2], ValueError, r"\['layer4'\].*shapes \(n, 4\), got \(30, 2\)"),
        ("hidden", lambda x: x[1:], ValueError, "70 rows in all, got 69"),
    ],
)
def test_invalid_blocks_are_refused(models, tmp_path, part, change, error, match):
    """A wrong second block of the second model raises an error that names the source and the
    row.
    """

    class Broken(MadeSource):
        def _cut(self):
            for self.number, rows in enumerate(super()._cut()):
                yield rows

        def blocks(self):
            for x in super().blocks():
                yield change(x) if part == "blocks" and self.number == 1 else x

        def hidden(self):
            for found in super().hidden():
                wanted = part == "hidden" and self.number == 1
                yield {tap: change(x) if wanted else x for tap, x in found.items()}

    sources = models.sources([30])
    sources[1] = Broken(sources[1].logits, sources[1]._hidden, [30])
    with pytest.raises(error, match=rf"sources\[1\]\.{part}\(\).*{match}"):
        compute(models, tmp_path, sources)


def test_layers_that_do_not_fit_are_refused(models, tmp_path):
    def hidden(**layers: np.ndarray) -> MadeSource:
        return MadeSource(models.logits[1], layers, [70])

    good, x = models.sources([70]), np.ones((70, 4), np.float32)
    with pytest.raises(ValueError, match=r"layers \['layer4'\], got \['other'\]"):
        compute(models, tmp_path / "a", [good[0], hidden(other=x), good[2]])
    good = models.sources([70])
    good[0]._hidden["more"] = x
    with pytest.raises(ValueError, match=r"equal lengths, got \{'layer4': 70, 'more': 69\}"):
        compute(models, tmp_path / "b", [good[0], hidden(layer4=x, more=x[:-1]), good[2]])
    good = models.sources([70])
    good[0]._hidden["flat"] = x[:, 0]
    with pytest.raises(ValueError, match=r"sources\[0\].hidden\(\).*\(70,\) for 'flat'"):
        compute(models, tmp_path / "c", good)
    good[0]._hidden = {"": x}
    with pytest.raises(ValueError, match=r"names of layers, got \(70, 4\) for ''"):
        compute(models, tmp_path / "c", good)
    good[0]._cut = lambda: iter(())
    with pytest.raises(ValueError, match=r"sources\[0\].hidden\(\) must yield blocks, got none"):
        compute(models, tmp_path / "d", good)


def test_models_without_hidden_states_have_no_cka(models, tmp_path):
    sources = [MadeSource(x, {}) for x in models.logits]
    found = compute(models, tmp_path, sources)
    assert found.cka == {}
    whole = compute(models, tmp_path)
    assert found.correlation.tobytes() == whole.correlation.tobytes()


def test_rounding_of_another_processor_is_accepted(models, tmp_path):
    near = models.log_probabilities + 0.009
    found = compute(models, tmp_path, log_probabilities=near)
    assert (found.cross_entropies == -near.mean(axis=1)).all()


def test_read_only_and_strided_inputs_give_equal_bits(models, tmp_path):
    whole = compute(models, tmp_path)
    for array in (models.labels, models.predicted, models.log_probabilities):
        array.flags.writeable = False
    sources = [
        MadeSource(
            np.asfortranarray(x),
            {tap: np.asfortranarray(h[i]) for tap, h in models.hidden.items()},
            [30],
        )
        for i, x in enumerate(models.logits)
    ]
    for source in sources:
        source.logits.flags.writeable = False
    same(compute(models, tmp_path, sources), whole)
    found = compute(
        models,
        tmp_path,
        sources,
        labels=models.labels.astype(np.uint8),
        predicted=np.asfortranarray(models.predicted.astype(np.int64)),
        log_probabilities=np.asfortranarray(models.log_probabilities),
    )
    same(found, whole)


def test_constant_models_warn_and_give_nan(models, tmp_path):
    """Constant models have a correlation and CKA of NaN, and a warning names them, for any
    tiles.
    """
    flat = Models(3, 70, 6, widths=(4,))
    flat.logits[1] = 0.5
    flat.hidden["layer4"][2] = 3
    flat.log_probabilities[1] = -np.log(6)
    flat.predicted[1] = 0
    for disk in (None, flat.disk(2)):
        with pytest.warns(nondet_ext.DegenerateInputWarning) as caught:
            found = compute(flat, tmp_path, flat.sources(), disk=disk)
        first, second = sorted(str(one.message) for one in caught)
        assert "CKA of 'layer4' of sources[2] is NaN" in first
        assert "correlation of sources[1] is NaN" in second
        assert {one.filename for one in caught} == {__file__}
        nans = np.isnan(found.correlation)
        assert nans[1].all()
        assert nans[:, 1].all()
        assert nans.sum() == 5
        assert np.isnan(found.cka["layer4"])[2].all()
        assert np.isnan(found.cka["layer4"]).sum() == 5


@settings(max_examples=12)
@given(
    st.integers(2, 5),
    st.integers(4, 40),
    st.integers(2, 9),
    st.lists(st.integers(1, 20), min_size=1, max_size=3),
    st.integers(2, 5),
    st.sampled_from(["probabilities", "logits"]),
    st.integers(0, 99),
)
@pytest.mark.filterwarnings("ignore::nondet_ext.DegenerateInputWarning")
def test_measures_of_any_shape_equal_those_in_memory(
    count, tokens, types, sizes, at_once, ensemble, seed
):
    models = Models(count, tokens, types, seed, widths=(2,))
    with tempfile.TemporaryDirectory() as folder:
        found = models.measure(
            Path(folder), models.sources(sizes), disk=models.disk(at_once), ensemble=ensemble
        )
    assert f"{min(at_once, count)} " in found.plan
    logits = torch.from_numpy(models.logits)
    assert found.correlation.tobytes() == nondet_ext.spearman(logits).numpy().tobytes()
    delta = nondet_ext.ensemble_delta(
        logits, torch.from_numpy(models.labels), "cross_entropy", ensemble
    ).numpy()
    np.testing.assert_allclose(found.ensemble_cross_entropy, delta, rtol=0, atol=1e-13)
    if ensemble == "logits":
        assert found.ensemble_cross_entropy.tobytes() == delta.tobytes()
    differ = (models.predicted[:, None] != models.predicted[None]).mean(-1)
    assert (found.disagreement == differ).all()
    cka = nondet_ext.linear_cka(
        list(torch.from_numpy(models.hidden["layer2"])), estimator="debiased"
    )
    np.testing.assert_allclose(found.cka["layer2"], cka, rtol=0, atol=1e-9, equal_nan=True)
