"""Names that a user gives: wherever one is wrong, the error lists the known ones and those that are
similar.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import nondet
from factories.commands import nondet as command
from factories.results import made_result
from nondet import metrics
from nondet.execute.jobs import environment_of
from nondet.lowlevel.accumulation import check_order
from nondet.names import alternatives, check_dataset, check_device, check_model, check_view, hint
from nondet.studies.catalog import find_study
from nondet.studies.seeds import philox_key
from nondet.studies.settings import parse_settings
from nondet.training.recorders import make_recorders


def plan(**changes):
    return find_study("quick").plan(**changes)


def keeps(digits):
    config = plan().configs[0]
    return make_recorders({"tapps"}, config, nondet.Seeds(), nondet.Onset(), digits)


CALLS = {
    "data set": (lambda: check_dataset("mnst"), "did you mean mnist"),
    "model": (lambda: check_model("resnet-14"), "did you mean resnet14"),
    "device": (lambda: check_device("cdua"), "did you mean cuda? known: cpu, cuda"),
    "device gpu": (lambda: check_device("gpu"), "did you mean cuda? known: cpu, cuda"),
    "device cuda:0": (lambda: check_device("cuda:0"), "did you mean cuda? known: cpu, cuda"),
    "view": (lambda: check_view("spred"), "did you mean spread?"),
    "study": (lambda: find_study("qick"), "did you mean quick?"),
    "preset": (lambda: plan(preset="papr"), "did you mean paper? the study 'quick' has: "),
    "setting": (lambda: plan(settings={"droput": 0.1}), "did you mean dropout"),
    "--set": (lambda: parse_settings(["droput=0.1"]), "did you mean dropout"),
    "--set, part": (lambda: parse_settings(["windw=2"]), "did you mean language.window"),
    "value": (lambda: plan(settings={"optimizer": "adm"}), "did you mean adam"),
    "source": (lambda: philox_key("shufle", 1), "did you mean shuffle?"),
    "varies": (lambda: nondet.Row("a", ("shufle",)), "did you mean shuffle?"),
    "row setting": (lambda: nondet.Row("a", settings={"droput": 0}), "did you mean dropout"),
    "keep": (lambda: nondet.Row("a", keep=("tapps",)), "did you mean taps?"),
    "design": (lambda: nondet.Row("a", design="cross"), "did you mean crossed?"),
    "output": (lambda: nondet.Row("a", output="final/flp"), "did you mean final/flip"),
    "order": (lambda: check_order("exakt"), "did you mean exact?"),
    "metric": (lambda: metrics.example_losses(None, None, "acuracy"), "did you mean accuracy?"),
    "level": (lambda: nondet.trace("x", level="op"), "did you mean ops?"),
}


@pytest.mark.parametrize("what", CALLS)
def test_a_wrong_name_gets_similar_ones(what):
    call, meant = CALLS[what]
    with pytest.raises(ValueError, match=r"^[^?]*did you mean") as caught:
        call()
    assert meant in str(caught.value)


def test_a_wrong_recorder_gets_similar_ones(digits):
    with pytest.raises(ValueError, match=r"keeps has 'tapps'; did you mean taps\? known: taps"):
        keeps(digits)


def test_wrong_names_of_stored_results_get_similar_ones(tmp_path):
    small = plan(models=("linear",), runs=2, epochs=4).with_data({"digits": "d1" * 32})
    store = nondet.Store(tmp_path)
    with store.opened_for(small):
        for number, job in enumerate(small.tasks()):
            store.save(job, made_result(number, {}, 4), environment_of(("cpu", 1)), seconds=1.0)
    results = nondet.load(tmp_path)
    for call, meant in (
        (lambda: results.logits("linaer", "control"), "did you mean linear?"),
        (lambda: results.logits("linear", "initialisation"), "did you mean initialization?"),
        (lambda: results.logits("linear", "One Bit"), "did you mean one bit?"),
    ):
        with pytest.raises(ValueError, match=r"did you mean") as caught:
            call()
        assert meant in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["rum"], "did you mean run? known: run, report, studies"),
        (["run", "quick", "--epoch", "3"], "--epochs"),
        (["run", "quick", "--executor", "lokal"], "did you mean local? known: local, ray"),
        (["run", "quick", "--device", "gpu"], "did you mean cuda?"),
        (["run", "quick", "--preset", "papr"], "did you mean paper?"),
        (["run", "quick", "--set", "droput=0.1"], "did you mean dropout"),
        (["run", "quik"], "did you mean quick?"),
        (["verify-resume", "quick", "--executor", "seriel"], "did you mean serial?"),
        (["verify-resume", "quick", "--device", "gpu"], "did you mean cuda?"),
        (["trace", "--out", "x", "--level", "op", "--", "true"], "did you mean ops?"),
    ],
)
def test_the_command_line_names_what_may_have_been_meant(arguments, meant, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERMINAL_WIDTH", "200")
    done = command(*arguments)
    assert done.exit_code == 2
    assert meant in " ".join(done.stderr.replace("│", " ").split())
    assert list(tmp_path.iterdir()) == []


def test_a_file_gets_the_names_for_its_presets_and_models(tmp_path):
    lines = (
        'name = "mine"',
        "[preset.laptop]",
        'models = ["linear"]',
        "runs = 2",
        'settings = { dataset = "digits", epochs = 1, batch_size = 64, lr = 0.1 }',
        "[[row]]",
        'name = "control"',
    )
    path = tmp_path / "mine.toml"
    path.write_text("\n".join((*lines[:2], "model_settings.linaer.lr = 1", *lines[2:])))
    with pytest.raises(ValueError, match="did you mean linear"):
        find_study(str(path))
    path.write_text("\n".join(('baseline = "contrl"', *lines)))
    with pytest.raises(ValueError, match=r"did you mean control\?"):
        find_study(str(path))


@given(st.one_of(st.none(), st.integers(), st.text(), st.lists(st.text())))
def test_a_hint_is_made_of_known_names_alone(name):
    known = ("lr", "Dropout", "language.dropout_input")
    text = hint(name, known)
    assert text == "" or (text.startswith("did you mean ") and text.endswith("? "))
    assert set(text.removeprefix("did you mean ").removesuffix("? ").split(" or ")) <= {"", *known}
    assert alternatives(name, ()) == "known: none"
