"""Arguments that take one of a few words: a wrong word gets an error that lists the right ones and
names those that are similar.
"""

import inspect

import pytest
import torch

import nondet_ext as ext

X = torch.zeros(2, 3)
INDEX = torch.tensor([0, 1])
LOGITS, LABELS = torch.zeros(2, 3, 4), torch.tensor([0, 1, 2])

CALLS = {
    ("CKA", "estimator"): lambda word: ext.CKA(estimator=word),
    ("linear_cka", "estimator"): lambda word: ext.linear_cka(X, estimator=word),
    ("ensemble_delta", "metric"): lambda word: ext.ensemble_delta(LOGITS, LABELS, word),
    ("ensemble_delta", "space"): lambda word: ext.ensemble_delta(LOGITS, LABELS, space=word),
    ("pearson", "nan_policy"): lambda word: ext.pearson(X, nan_policy=word),
    ("spearman", "nan_policy"): lambda word: ext.spearman(X, nan_policy=word),
    ("rankdata", "nan_policy"): lambda word: ext.rankdata(X, nan_policy=word),
    ("ulp_distance", "nan"): lambda word: ext.ulp_distance(X, X, nan=word),
    ("ordered", "order"): lambda word: ext.ordered(word),
    ("accumulate", "order"): lambda word: ext.accumulate([X, X], order=word),
    ("dot", "order"): lambda word: ext.dot(X[0], X[0], order=word),
    ("mean", "order"): lambda word: ext.mean(X, order=word),
    ("sum", "order"): lambda word: ext.sum(X, order=word),
    ("segment_sum", "order"): lambda word: ext.segment_sum(X, torch.tensor([0, 2]), order=word),
    ("bincount", "order"): lambda word: ext.bincount(INDEX, X[:, 0], order=word),
    ("index_add", "order"): lambda word: ext.index_add(X, 0, INDEX, X, order=word),
    ("index_add_", "order"): lambda word: ext.index_add_(X, 0, INDEX, X, order=word),
    ("scatter_add", "order"): lambda word: ext.scatter_add(X, 0, INDEX[:, None], X, order=word),
    ("scatter_add_", "order"): lambda word: ext.scatter_add_(X, 0, INDEX[:, None], X, order=word),
}

NEAR = {
    "estimator": ("debised", "'debiased' or 'biased'"),
    "metric": ("acuracy", "'accuracy'"),
    "space": ("Logit", "'logits'"),
    "nan_policy": ("propagat", "'propagate'"),
    "nan": ("rais", "'raise'"),
    "order": ("exakt", "'exact'"),
}


def test_every_argument_with_a_word_as_default_is_tested():
    found = set()
    for name in dir(ext):
        function = getattr(ext, name)
        is_warning = inspect.isclass(function) and issubclass(function, Warning)
        if not name.startswith("_") and callable(function) and not is_warning:
            found |= {
                (name, argument.name)
                for argument in inspect.signature(function).parameters.values()
                if isinstance(argument.default, str) and argument.name != "memory"
            }
    assert found == set(CALLS)


@pytest.mark.parametrize(("function", "argument"), CALLS)
def test_a_wrong_word_gets_the_right_ones(function, argument):
    word, meant = NEAR[argument]
    with pytest.raises(ValueError, match=f"^{argument} must be ") as caught:
        CALLS[function, argument](word)
    assert str(caught.value).endswith(f", got {word!r}; did you mean {meant}?")


@pytest.mark.parametrize(("function", "argument"), CALLS)
@pytest.mark.parametrize("word", ["", "zzzz", None, 3, ["fixed"]])
def test_what_is_like_no_word_gets_no_suggestion(function, argument, word):
    with pytest.raises((ValueError, TypeError), match=f"^{argument} must be ") as caught:
        CALLS[function, argument](word)
    assert str(caught.value).endswith(f", got {word!r}")


def test_an_unknown_order_is_named_inside_of_torch_compile():
    @torch.compile(fullgraph=True, backend="eager")
    def total(x):
        return ext.sum(x, order="exakt")

    with pytest.raises(Exception, match="order must be"):
        total(X)
