"""A study: every mistake is one line that names the file and the key; lists are crossed."""

from pathlib import Path

import pytest

from empirical.study import Products, Row, StudyError, groups, load

ROOT = Path(__file__).parents[2]
GOOD = {"init": '"xavier_normal"', "activation": '"relu"', "depth": "3", "width": "20"}


def study(head="", table="[[rows]]", **keys):
    """Return the text of a study with one table of rows; a value "" leaves the key out."""
    lines = [f"{key} = {value}" for key, value in {**GOOD, **keys}.items() if value]
    return "\n".join([head, table, *lines])


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
    from empirical.measure import Task

    monkeypatch.setattr(Task, "run", lambda task: pytest.fail("measured"))
    row = Row("kaiming_normal", "relu", 10, 50, "digits", 4, 0)
    assert row.network.shapes[0] == (64,)
    assert row.predict().finite_width.regime.name == "fluctuating"
