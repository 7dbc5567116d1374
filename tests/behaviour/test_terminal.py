"""What a terminal and a page show: no line wider than 80 columns, no column cut, the count of verdicts at the end."""

import csv
import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from click.testing import CliRunner

from empirical.study import StudyError, load
from figures import report_command
from figures.cli import cli
from figures.tables import plain
from figures.terminal import fitted, table_text

STUDY = """
draws = 3
[[rows]]
init = ["orthogonal", "kaiming_uniform(mode='fan_out', nonlinearity='leaky_relu')"]
activation = "linear"
depth = [1, 2]
width = 9
activate_last = [true, false]
[[rows]]
init = "orthogonal"
activation = "relu"
depth = 2
width = 9
activate_last = [true, false]
"""


@pytest.fixture
def report(tmp_path, monkeypatch):
    """A function that reports a study and returns what is printed; networks are measured by a thread."""
    monkeypatch.setattr(report_command, "workers", lambda: ThreadPoolExecutor(1))

    def run(text, *arguments, columns=None):
        (tmp_path / "study.toml").write_text(text)
        environment = {"COLUMNS": columns and str(columns)}
        result = CliRunner().invoke(cli, ["report", str(tmp_path / "study.toml"), "--out", str(tmp_path / "out"),
                                          *arguments], env=environment)
        assert result.exit_code == 0, result.stderr
        return result.stdout

    return run


def test_a_report_ends_in_the_count_of_its_verdicts(report, tmp_path):
    shown = report(STUDY).rstrip().splitlines()
    with open(tmp_path / "out" / "summary.csv", newline="") as file:
        rows = [*csv.DictReader(file)]
    count = {word: sum(row["verdict"] == word for row in rows) for word in ("agrees", "undecided", "differs")}
    assert len(rows) == 4 * 2 + 2
    assert shown[-1] == (f"10 rows: {count['agrees']} agree, {count['undecided']} undecided, {count['differs']} differ")
    page = re.sub(r"<[^>]*>", "", (tmp_path / "out" / "index.html").read_text())
    assert f"10 rows:\n{count['agrees']} agree, {count['undecided']} undecided,\n{count['differs']} differ" in page
    assert len(json.loads(report(STUDY, "--json"))) == 10


def test_a_last_layer_may_be_linear_in_a_study(report, tmp_path):
    report(STUDY)
    with open(tmp_path / "out" / "summary.csv", newline="") as file:
        rows = [*csv.DictReader(file)]
    relu = [row for row in rows if row["activation"] == "relu"]
    assert [row["activate_last"] for row in relu] == ["yes", "no"]
    on, off = (row for row in load(tmp_path / "study.toml").rows if row.activation == "relu")
    assert (on.predict().gradient_growth, off.predict().gradient_growth) == pytest.approx((0.25, 0.5))
    assert "last layer linear" in str(off)
    assert str(off.network).count("relu") == 1
    assert len(off.network.layers) == 3
    for text, says in (("3", "true or false"), ('[true, "no"]', "true or false")):
        (tmp_path / "study.toml").write_text(STUDY.replace("[true, false]", text))
        with pytest.raises(StudyError, match=says):
            load(tmp_path / "study.toml")


def test_the_page_says_once_what_every_row_says(report, tmp_path):
    report(STUDY)
    page = (tmp_path / "out" / "index.html").read_text()
    assert "In every row: inputs gaussian, width 9, nets 3, seed 1." not in page
    assert "In every row: inputs gaussian, width 9, nets 3, seed 0." in page
    heads = re.findall("<th>(.*?)</th>", page)
    assert {"scheme", "activation", "depth", "last activation", "verdict", "discrepancy"} <= {*heads}
    assert not {"inputs", "width", "nets", "seed", "blocks", "bias std"} & {*heads}
    tables = len(re.findall("<table", page))
    assert tables == len(re.findall(r'<div class="scroll[^"]*"><table', page)) == 1  # the page itself never scrolls
    one = STUDY.replace('["orthogonal", "kaiming', '"orthogonal" # ["kaiming').replace("[1, 2]", "1").replace(
        "[true, false]", "true").partition("[[rows]]\ninit = \"orthogonal\"\nactivation = \"relu\"")[0]
    report(one)
    assert "In every row" not in (tmp_path / "out" / "index.html").read_text()  # of one row nothing is left out


COMMANDS = [
    "--help", *(f"{name} --help" for name in cli.commands), "figures list",
    "phase --sigma-w 0.5,3,100 --bias-std 0,1,2",
    "predict --widths 64,50x2,10 --init gaussian(sigma_w=1.5) --bias-std 0.25",
    "predict --widths 10x200 --init gaussian(sigma_w=3)", "measure --widths 9x2 --draws 2",
    "compare --widths 9x2 --draws 3", "advise examples/model.py:make_model --input 3,16,16",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_no_line_is_wider_than_the_terminal(command):
    result = CliRunner().invoke(cli, command.split(), env={"COLUMNS": "80"})
    assert result.exit_code in (0, 1, 3), result.output
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_a_report_on_a_terminal_has_all_columns_below_each_other(report):
    wide, shown = report(STUDY), report(STUDY, columns=80)
    assert max(map(len, wide.splitlines())) > 80 >= max(map(len, shown.splitlines()))
    assert sorted(set(shown.split()) - set(wide.split())) == []
    assert {*wide.split()} <= {*shown.split()}


def test_lines_are_folded_where_their_last_column_begins():
    line = f"{'name':20}  {'one two three four five six seven eight nine ten':}"
    assert fitted(line, 50).splitlines()[1].startswith(" " * 22)
    assert "".join(fitted(line, 50).split()) == "".join(line.split())
    late = f"{'x' * 40}  the last column begins beyond what leaves room"
    assert fitted(late, 50).splitlines()[0] == "x" * 40
    assert fitted(late, 50).splitlines()[1].startswith("    the last")
    assert fitted(line, None) == line
    assert max(map(len, fitted("word " * 40, 30).splitlines())) <= 30


def test_a_table_keeps_its_first_column_in_every_part(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    table = plain(" ".join(f"column_{i}" for i in range(9)), [tuple(range(9)), tuple(range(9, 18))])
    heads = [line for line in table_text(table).splitlines() if line.startswith("column 0")]
    assert len(heads) == 3
    assert sorted(" ".join(heads).replace("column ", "").split()) == sorted("000" + "12345678")
