"""A study: every mistake is one line that names the file and the key; lists are crossed."""

import re
from pathlib import Path

import numpy as np
import pytest

from empirical.measurement import Measurement
from empirical.study import Phase, Products, Row, StudyError, groups, growth, load, spaced
from rmt import mlp, schemes
from rmt.networks import meanfield, zoo

ROOT = Path(__file__).parents[2]
GOOD = {"init": '"xavier_normal"', "activation": '"relu"', "depth": "3", "width": "20"}


def study(head="", table="[[rows]]", **keys):
    """Return the text of a study with one table of rows; a value "" leaves the key out."""
    lines = [f"{key} = {value}" for key, value in {**GOOD, **keys}.items() if value]
    return "\n".join([head, table, *lines])


def phase(**keys):
    """Return the text of a study of a phase diagram; a value "" leaves the key out."""
    good = {"activation": '"tanh"', "sigma_w": "[0.5, 3, 6]", "bias_std": "[0, 1, 3]"}
    return study(table="[phase]", init="", activation="", depth="", width="").replace(
        "[phase]", "\n".join(["[phase]", *(f"{key} = {value}" for key, value in {**good, **keys}.items() if value)]))


# name -> (content, what the one line must say)
BAD = {
    "misspelt key of a study": (study("titel = 'a'"), ("titel", "did you mean 'title'")),
    "misspelt key of rows": (study(depht="3", depth=""), ("depht", "did you mean 'depth'", "rows")),
    "misspelt key of products": ("[products]\nmatrixes = [1]", ("matrixes", "did you mean 'matrices'", "products")),
    "missing key": (study(width=""), ("width", "rows")),
    "title is not text": (study("title = 3"), ("title", "text", "3")),
    "rows are numbers": ("rows = [1, 2]", ("rows", "[[rows]]")),
    "rows are one table": (study(table="[rows]"), ("rows", "[[rows]]")),
    "products are tables": ("[[products]]\nwidth = 3", ("products", "[products]")),
    "broken": ("title = ", ("TOML",)),
    "unclosed": ("[[rows]\n", ("TOML",)),
    "key given twice": (study(table="[[rows]]\ndepth = 1"), ("TOML", "line 6")),
    "empty": ("", ("[[rows]]", "[products]")),
    "only a title": ("title = 'a'", ("[[rows]]", "[products]")),
    "empty list": (study(depth="[]"), ("depth",)),
    "empty list among rows": (study() + "\n" + study(init="[]"), ("init",)),
    "nested list": (study(depth="[[1, 2]]"), ("depth", "[1, 2]")),
    "nested list of names": (study(init='[["orthogonal"]]'), ("init", "orthogonal")),
    "nested list of inputs": (study(inputs='[["gaussian"]]'), ("inputs", "gaussian")),
    "table for a number": (study(width="{a = 1}"), ("width",)),
    "unknown scheme": (study(init='"xavier_norml"'), ("init", "did you mean 'xavier_normal'")),
    "unknown scheme in a list": (study(init='["orthogonal", "ortogonal"]'), ("init", "did you mean 'orthogonal'")),
    "unknown activation": (study(activation='"rely"'), ("activation", "did you mean 'relu'")),
    "unknown inputs": (study(inputs='"digit"'), ("inputs", "did you mean 'digits'")),
    "bad argument of a scheme": (study(init='"gaussian(sigma_w=-1)"'), ("sigma_w", "-1")),
    "unknown argument of a scheme": (study(init='"gaussian(sigma=1)"'), ("init", "sigma")),
    "argument of an activation": (study(activation='"relu(2)"'), ("activation", "relu(2)")),
    "code as a scheme": (study(init='"__import__(\'os\').getcwd()"'), ("init", "__import__")),
    "number for a scheme": (study(init="3"), ("init", "3")),
    "negative seed": (study("seed = -1"), ("seed", "-1")),
    "seed is text": (study("seed = 'a'"), ("seed", "'a'")),
    "unused draws are checked too": (study("draws = 'many'", draws="3"), ("draws", "many")),
    "matrices of zero": ("[products]\nmatrices = [0]", ("matrices", ">= 1", "0")),
    "matrices not a list": ("[products]\nmatrices = 3", ("matrices", "3")),
    "bins of zero": ("[products]\nbins = 0", ("bins", ">= 1", "0")),
    "bias_std is negative": (study(bias_std="[0.0, -0.1]"), ("bias_std", "[0, 100000]", "-0.1")),
    "bias_std is text": (study(bias_std='"0.1"'), ("bias_std", "[0, 100000]", "'0.1'")),
    "bias_std is empty": (study(bias_std="[]"), ("bias_std", "empty")),
    "a second bias": (study(init='"torch_default"', bias_std="0.1"), ("bias_std", "torch_default", "0.1")),
    "misspelt bias_std": (study(bias_sdt="0.1"), ("bias_sdt", "did you mean 'bias_std'")),
    "phase is tables": ("[[phase]]\nactivation = 'tanh'", ("phase", "[phase]")),
    "misspelt key of phase": (phase(sigma="[1, 2, 3]"), ("sigma", "did you mean 'sigma_w'", "[phase]")),
    "phase without an activation": (phase(activation=""), ("[phase]", "activation")),
    "phase without bias_std": (phase(bias_std=""), ("[phase]", "bias_std")),
    "phase of an unknown activation": (phase(activation='"tahn"'), ("activation", "did you mean 'tanh'")),
    "axis of two numbers": (phase(sigma_w="[1, 2]"), ("sigma_w", "[low, high, count]", "[1, 2]")),
    "axis is a number": (phase(bias_std="1"), ("bias_std", "[low, high, count]", "1")),
    "axis from zero": (phase(sigma_w="[0, 2, 3]"), ("sigma_w (low)", "(0, 100000]", "0")),
    "axis to nan": (phase(sigma_w="[1, nan, 3]"), ("sigma_w (high)", "(0, 100000]", "nan")),
    "axis downwards": (phase(bias_std="[1, 0.5, 3]"), ("bias_std", "low < high", "[1, 0.5, 3]")),
    "axis of one value": (phase(sigma_w="[1, 2, 1]"), ("sigma_w (count)", ">= 2", "1")),
    "axis of many values": (phase(sigma_w="[1, 2, 1000]"), ("sigma_w (count)", "at most 200", "1000")),
    "one number measured": (phase(measure="3"), ("measure", "how many sigma_w", "3")),
    "none measured": (phase(measure="[3, 0]"), ("measure[1]", ">= 1", "0")),
    "one network a point": (phase(draws="1"), ("draws", ">= 2", "1")),
    "phase of depth 0": (phase(depth="0"), ("depth", ">= 1", "0")),
} | {
    f"{key} {value}": (study(**{key: value}), (key, "whole number >= 1", shown))
    for key in ("depth", "width", "draws")
    for value, shown in (("-3", "-3"), ("0", "0"), ("nan", "nan"), ("inf", "inf"), ("2.5", "2.5"), ("true", "True"),
                         ('"3"', "'3'"), ("[1, 0]", "0"))
} | {
    f"{key} of 10^12": (study(**{key: "1_000_000_000_000"}), (key, "at most", "1000000000000"))
    for key in ("depth", "width", "draws")
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_study_is_one_line_with_the_file_and_the_key(tmp_path, name):
    content, says = BAD[name]
    path = tmp_path / "mine.toml"
    path.write_text(content)
    with pytest.raises(StudyError) as error:
        load(path)
    text = str(error.value)
    assert text.startswith(str(path))
    assert "\n" not in text
    for part in says:
        assert part in text


def test_a_file_that_is_missing_or_no_text_is_one_line_too(tmp_path):
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00title")
    for path in (tmp_path / "none.toml", tmp_path, tmp_path / "binary.toml"):
        with pytest.raises(StudyError) as error:
            load(path)
        assert str(error.value).startswith(f"{path}: ")
        assert "\n" not in str(error.value)


def test_every_list_is_crossed_with_the_others(tmp_path):
    path = tmp_path / "crossed.toml"
    path.write_text("title = 'T'\nseed = 5\ndraws = 7\n" + study(
        init='["orthogonal", "gaussian(sigma_w=1.5)"]', activation='["relu", "linear"]', depth="[1, 2, 30]",
        width="[10, 20]", inputs='["digits", "gaussian"]') + "\n" + study(draws="2"))
    found = load(path)
    assert len(found.rows) == 2 * 2 * 3 * 2 * 2 + 1
    assert len(set(found.rows)) == len(found.rows)
    assert Row("gaussian(sigma_w=1.5)", "linear", 30, 10, "digits", 7, 5) in found.rows
    assert found.rows[-1] == Row("xavier_normal", "relu", 3, 20, "gaussian", 2, 5)
    assert (found.title, found.products) == ("T", None)
    assert {row.seed for row in load(path, seed=9).rows} == {9}


def test_the_same_row_twice_is_one_row(tmp_path):
    path = tmp_path / "twice.toml"
    path.write_text(study(depth="[1, 1]") + "\n" + study(depth="1"))
    assert len(load(path).rows) == 1


def test_the_study_of_initialization_has_64_rows_and_the_three_products():
    found = load(ROOT / "studies" / "initialization.toml")
    assert len(found.rows) == 64
    assert {(row.activation, row.inputs) for row in found.rows} == {
        (activation, inputs) for activation in ("linear", "relu") for inputs in ("gaussian", "digits")}
    assert {row.depth for row in found.rows} == {1, 3, 10, 30}
    assert {row.init for row in found.rows} == {
        "gaussian(sigma_w=1.0)", "xavier_normal", "kaiming_normal", "orthogonal"}
    assert found.products == Products((1, 3, 5), 1000, 10, 50, 1)
    assert [len(rows) for _, rows in groups(found.rows)] == [16] * 4


def test_the_regime_is_known_without_measuring(monkeypatch):
    from empirical.task import Task

    monkeypatch.setattr(Task, "run", lambda task: pytest.fail("measured"))
    row = Row("kaiming_normal", "relu", 10, 50, "digits", 4, 0)
    assert row.network.shapes[0] == (64,)
    assert row.predict().finite_width.regime.name == "fluctuating"


def test_biases_are_crossed_too_and_a_row_without_one_is_what_it_was(tmp_path):
    path = tmp_path / "biases.toml"
    path.write_text(study(bias_std="[0, 0.0, 0.25]", depth="[1, 2]"))
    rows = load(path).rows
    assert [(row.bias_std, row.depth) for row in rows] == [(0.0, 1), (0.0, 2), (0.25, 1), (0.25, 2)]
    plain, biased = rows[0], rows[2]
    assert plain == Row("xavier_normal", "relu", 1, 20, "gaussian", 10, 0)
    assert "bias" not in str(plain)
    assert "bias_std 0.25" in str(biased)
    # the name under which networks measured before there were biases are stored
    assert plain.tasks()[0].label == repr(mlp([20, 20], "relu", "xavier_normal"))
    assert biased.network == mlp([20, 20], "relu", "xavier_normal", 0.25)


def test_the_measured_points_of_a_phase_diagram_are_a_coarser_grid(tmp_path):
    path = tmp_path / "phase.toml"
    path.write_text("seed = 3\ndraws = 4\n" + phase(measure="[2, 3]", depth="5", width="30"))
    found = load(path)
    assert found.rows == ()
    assert found.phase == Phase("tanh", (0.5, 3.0, 6), (0.0, 1.0, 3), (2, 3), 5, 30, 4, 3)
    assert found.phase.points == ((0.5, 0.0), (3.0, 0.0), (0.5, 0.5), (3.0, 0.5), (0.5, 1.0), (3.0, 1.0))
    assert found.all_rows == found.phase.rows
    assert found.phase.rows[2] == Row("gaussian(sigma_w=0.5)", "tanh", 5, 30, "gaussian", 4, 3, 0.5)
    assert spaced((0.1, 0.7, 3)).tolist() == [0.1, 0.4, 0.7]


def test_the_study_of_activations_has_every_scheme_and_its_critical_points_are_critical():
    found = load(ROOT / "studies" / "activations.toml").rows
    drawn = {row.network.layers[0].scheme.call.partition("(")[0] for row in found}
    assert drawn == {name for name in schemes.REGISTRY if not name.startswith(("glorot", "he_", "delta"))}
    critical = {}
    for row in found:
        if row.init.startswith("gaussian(") and (row.activation, row.bias_std) not in critical:
            point = meanfield.critical_point(row.activation, bias_std=row.bias_std)
            critical[row.activation, row.bias_std] = point.sigma_w
    assert {activation for activation, _ in critical} == {"linear", "relu", "tanh", "gelu", "hardtanh", "selu"}
    for kind, sigma_w in critical.items():
        mine = [row.network.layers[0].scheme for row in found if (row.activation, row.bias_std) == kind]
        assert min(abs(float(scheme.gain_squared) - sigma_w**2) for scheme in mine) < 1e-6


def test_the_study_of_a_phase_diagram():
    found = load(ROOT / "studies" / "phase.toml").phase
    assert (found.activation, found.width, found.depth) == ("tanh", 200, 10)
    assert set(spaced(found.sigma_w, found.measure[0])) <= set(spaced(found.sigma_w))
    assert set(spaced(found.bias_std, found.measure[1])) <= set(spaced(found.bias_std))


def test_growth_is_averaged_in_logs():
    rng = np.random.default_rng(1)
    values = np.sort(rng.normal(size=(4, 2, 3)))[..., ::-1]
    each = (np.exp(2 * values).sum(-1) / 5).mean(1)
    for shift in (0.0, -3000.0, 3000.0):
        found = growth(Measurement(values + shift, np.full((4, 2), -np.inf), 5, "a", "b", 0, "cpu", "float64"))
        assert found == pytest.approx((np.log(each.mean()) + 2 * shift, each.std(ddof=1) / 2 / each.mean()), rel=1e-12)
    zeros = Measurement(np.full((3, 1, 2), -np.inf), np.full((3, 1), -np.inf), 2, "a", "b", 0, "cpu", "float64")
    assert growth(zeros) == (-np.inf, 0.0)


def test_a_study_of_residual_blocks(tmp_path):
    """Architecture, norm and scale are crossed; blocks are said in the row's scheme; bad values name their key."""
    found = load(ROOT / "studies" / "residual.toml").rows
    assert len(found) == 39
    assert "residual_mlp, norm layer, scale 1/sqrt(L)" in {row.blocks for row in found}
    row = next(row for row in found if (row.blocks, row.depth) == ("resnet, norm batch, scale 1/sqrt(L)", 8))
    assert row.network == zoo.resnet(8, 200, "tanh", norm="batch", scale="1/sqrt(L)")
    table = '[[rows]]\ninit = "lecun_normal"\nactivation = "tanh"\ndepth = 2\nwidth = 9\n'
    for text, says in (('architecture = "resnet"\nnorm = "btch"', "did you mean 'batch'"),
                       ('architecture = "resnt"', "did you mean 'resnet'"), ('norm = "batch"', "norm and scale need"),
                       ('architecture = "resnet"\nscale = "1/L2"', "did you mean '1/L'"),
                       ('architecture = "resnet"\nbias_std = 0.1', "bias_std must be 0 with architecture 'resnet'")):
        (path := tmp_path / "study.toml").write_text(table + text)
        with pytest.raises(StudyError, match=re.escape(says)):
            load(path)
