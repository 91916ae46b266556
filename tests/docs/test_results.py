"""What docs/results/README.md says to hold, held against the tables kept beside it."""

import csv
from pathlib import Path

import pytest

RESULTS = Path(__file__).parents[2] / "docs" / "results"
STUDIES = sorted(path.parent.name for path in RESULTS.glob("*/report.md"))


def table(study, name):
    with (RESULTS / study / "tables" / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def spread(study, model, row):
    [line] = [
        line
        for line in table(study, "spread")
        if (line["model"], line.get("row") or line.get("source")) == (model, row)
    ]
    return {name: float(value) for name, value in line.items() if name.endswith(("points", "nats"))}


def test_every_study_has_a_report_and_is_in_the_list():
    from nondet.studies import catalog as studies

    assert set(STUDIES) == set(studies.STUDIES)
    page = (RESULTS / "README.md").read_text()
    assert all(f"({name}/report.md)" in page for name in STUDIES)


@pytest.mark.parametrize("study", STUDIES)
def test_control_is_exact(study):
    report = (RESULTS / study / "report.md").read_text()
    assert "trainings with equal seeds end in equal bits" in report


@pytest.mark.parametrize("study", STUDIES)
def test_every_figure_of_a_report_is_there(study):
    folder = RESULTS / study
    report = (folder / "report.md").read_text()
    for path in folder.glob("figures/*.svg"):
        assert f"(figures/{path.name})" in report
    assert report.count("](figures/") == len(list(folder.glob("figures/*.svg")))


def test_linear_model_forgets_a_moved_bit():
    bit = spread("table8", "linear", "one bit")
    assert bit["accuracy_sd_points"] == 0
    assert 0 < bit["cross_entropy_sd_nats"] < 1e-7


def test_hidden_layer_spreads_one_bit_as_far_as_all_sources():
    bit, together = (spread("table8", "hidden", row) for row in ("one bit", "all sources"))
    ratio = bit["cross_entropy_sd_nats"] / together["cross_entropy_sd_nats"]
    assert 1 / 3 < ratio < 3
    assert bit["accuracy_sd_points"] > 0


def test_convolutional_layer_lies_between():
    linear, conv, hidden = (
        spread("table8", model, "one bit")["cross_entropy_sd_nats"]
        for model in ("linear", "hidden-conv", "hidden")
    )
    assert 100 * linear < conv < hidden / 100


def test_one_bit_epoch_by_epoch():
    """Appendix C: five orders of magnitude apart, a peak early on."""
    sds = {
        model: [
            float(line["cross_entropy_sd"])
            for line in table("fig3", "epochs")
            if line["model"] == model
        ]
        for model in ("linear", "hidden")
    }
    assert sds["hidden"][-1] > 1e5 * sds["linear"][-1]
    assert max(sds["hidden"]) > 2 * sds["hidden"][-1]
    assert max(sds["linear"]) < 1e-6


def test_condition_number_of_training_is_large_where_there_is_depth():
    worst = {}
    for line in table("divergence", "condition"):
        value = float(line["condition_cross_entropy"])
        worst[line["model"]] = max(value, worst.get(line["model"], 0))
    assert worst["linear"] < 10
    assert worst["hidden"] > 1e6
    assert worst["resnet14-w8"] > 1e6


def test_similarity_of_representations_falls_with_depth():
    for line in table("fig1", "cka"):
        if line["source"] != "control":
            assert float(line["cka_conv1"]) > float(line["cka_block2"]) > float(line["cka_logits"])


@pytest.mark.parametrize("source", ["shuffling", "augmentation"])
def test_a_source_that_sets_in_at_half_time_still_spreads(source):
    by_epoch = {
        int(line["onset_epoch"]): float(line["cross_entropy_sd"])
        for line in table("fig2", "onset")
        if line["source"] == source
    }
    assert by_epoch[8] > 0.25 * by_epoch[0]
    assert by_epoch[13] < 0.25 * by_epoch[0]
    assert by_epoch[15] == 0


@pytest.mark.parametrize("study", ["table7", "appendix-a", "tta"])
def test_no_reduction_is_measurable(study):
    report = (RESULTS / study / "report.md").read_text()
    assert "no row varies measurably less than" in report


def test_twins_part_exponentially_where_there_is_depth():
    for line in table("growth", "growth"):
        if line["model"] == "resnet14-w8, one bit" and line["quantity"] == "weights":
            assert line["exponential_runs"] == line["runs"]
            assert float(line["saturation_step"]) < 100
            break
    else:
        pytest.fail("the table of growth has no such line")


def test_sources_act_together():
    """No source alone, but their interaction explains the variance of cross-entropy."""
    shares = {
        line["effect"]: (
            float(line["cross_entropy_share"]),
            float(line["cross_entropy_share_low"]),
        )
        for line in table("crossed", "components")
        if line["cross_entropy_share"]
    }
    alone = [share for name, (share, _) in shares.items() if " x " not in name]
    assert max(alone) < 10
    share, low = shares["initialization x shuffling x augmentation"]
    assert share > 50
    assert low > 10


def perplexity(row):
    [line] = [line for line in table("table4", "perplexity") if line["row"] == row]
    return {
        name: float(value) for name, value in line.items() if name not in ("model", "row", "seeds")
    }


def test_control_of_language_models_is_exact():
    control = perplexity("control")
    assert control.pop("spearman_correlation") == 1
    assert control.pop("cka_last_layer") == pytest.approx(1, abs=1e-12)
    assert set(control.values()) == {0}


def test_both_sources_spread_a_language_model_alike():
    both = perplexity("both")
    for row in ("initialization", "stochastic operations"):
        found = perplexity(row)
        assert 0.5 < found["perplexity_sd"] / both["perplexity_sd"] < 2
        assert abs(found["disagreement_percent"] - both["disagreement_percent"]) < 2
        assert found["ensemble_perplexity_change"] < -2


def test_one_bit_spreads_a_language_model():
    bit, both = perplexity("one bit"), perplexity("both")
    assert 0.5 < bit["perplexity_sd"] / both["perplexity_sd"] < 2
    assert 0.5 < bit["disagreement_percent"] / both["disagreement_percent"] < 1
    assert both["spearman_correlation"] < bit["spearman_correlation"] < 0.98
    assert both["cka_last_layer"] < bit["cka_last_layer"] < 0.9


def test_cka_of_language_models_differs_more_between_layers_than_between_sources():
    found = [
        [float(line[f"cka_{layer}"]) for layer in ("embedding", "layer1", "layer2")]
        for line in table("table4", "perplexity-cka")
        if line["source"] != "control"
    ]
    of_layers = [sum(values) / len(values) for values in zip(*found, strict=True)]
    between_sources = max(max(values) - min(values) for values in zip(*found, strict=True))
    assert max(of_layers) - min(of_layers) > between_sources
