"""The command line: an example in every help, one line for bad input, exit statuses that a script can use."""

import json
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from empirical import Measurement
from empirical.task import Task
from figures import network_commands, report_command
from figures.cli import cli
from figures.network_commands import widths
from rmt import ConvergenceError


def rmt(*arguments):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def refused(result, *says):
    """Check that there is one line on standard error, exit status 2 and no traceback; return the line."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("rmt: ")
    assert result.stderr.count("\n") == 1
    for part in says:
        assert part in result.stderr
    return result.stderr


def test_the_commands_of_a_first_version_are_there():
    assert {"predict", "measure", "compare", "report", "phase"} <= set(cli.commands)
    bare = rmt()
    assert bare.exit_code == 2
    assert "\n  predict" in bare.output  # help, not squeezed into a line


@pytest.mark.parametrize("name", cli.commands)
def test_the_help_of_a_command_has_an_example_that_it_accepts(name):
    shown = rmt(name, "--help")
    assert shown.exit_code == 0
    for option in ("--json", "--seed", "--out", "--help"):
        assert option in shown.stdout
    example = cli.commands[name].help.partition("Example: ")[2].split("\n\n")[0]
    program, command, *arguments = shlex.split(example)
    assert (program, command) == ("rmt", name)
    assert "Example:" in shown.stdout
    assert cli.commands[name].make_context(name, arguments).params


@pytest.mark.parametrize(("text", "expected"), [
    ("784,500x10,10", [784, *[500] * 10, 10]), ("200x6", [200] * 7), ("200", [200]), ("5,4", [5, 4]),
    ("3x1", [3, 3]), (" 3, 4x2 ", [3, 4, 4]), ("7x2,3", [7, 7, 3]), ("1x1,1", [1, 1]),
])
def test_the_grammar_of_widths(text, expected):
    assert widths(text) == expected


@pytest.mark.parametrize("text", ["", "x", "0", "3x0", "0x3", "-3", "3.5", "3,,4", "3,", "a", "3x", "x3", "3x2x2",
                                  "1e3", "3*2", "²", "nan", "3 4", "+3", "1_0"])
def test_widths_that_mean_nothing_are_refused(text):
    refused(rmt("predict", "--widths", text), "widths", "784,500x10,10", repr(text))


BAD = [
    (("nonsense",), ("nonsense",)),
    (("predict", "--widths", "9x2", "--init", "xavier_norml"), ("did you mean 'xavier_normal'",)),
    (("predict", "--widths", "9x2", "--init", "gaussian(sigma_w=nan)"), ("init", "sigma_w=nan")),
    (("predict", "--widths", "9x2", "--init", "gaussian(sigma_w=0)"), ("sigma_w", "(0, inf)")),
    (("predict", "--widths", "9x2", "--activation", "rellu"), ("did you mean 'relu'",)),
    (("predict", "--widths", "9x2", "--inputs", "digit"), ("did you mean 'digits'",)),
    (("predict", "--widths", "9x2", "--activaton", "relu"), ("--activaton", "--activation")),
    (("predict", "--widths", "9x2", "--bias-std", "nan"), ("bias_std", "[0, inf)")),
    (("measure", "--widths", "9x2", "--seed", "-1"), ("seed", ">= 0")),
    (("measure", "--widths", "9x2", "--draws", "two"), ("--draws", "two")),
    (("measure", "--widths", "9x2", "--inputs", "digits"), ("(64,)", "(9,)")),
    (("measure", "--widths", "9x2", "--store", "/proc/none"), ("store /proc/none",)),
    (("measure", "--widths", "9x2", "--out", "/proc/none/m.npz"), ("/proc/none",)),
    (("compare", "--widths", "9x2", "--tolerance", "2"), ("tolerance", "(0, 1)")),
    (("compare", "--widths", "9x2", "--measurement", "none.npz"), ("none.npz",)),
    (("compare", "--widths", "9x2", "--out", "picture.foo"), ("foo", "svg")),
    (("report", "none.toml"), ("none.toml: no such file",)),
    (("phase", "--activation", "tahn"), ("did you mean 'tanh'",)),
    (("phase", "--sigma-w", "0.5,3"), ("sigma_w", "low,high,count", "'0.5,3'")),
    (("phase", "--sigma-w", "0,3,5"), ("sigma_w (low)", "(0, 100000]", "0")),
    (("phase", "--sigma-w", "nan,3,5"), ("sigma_w (low)", "nan")),
    (("phase", "--bias-std", "1,0,5"), ("bias_std", "low < high")),
    (("phase", "--bias-std", "0,1,1"), ("bias_std (count)", ">= 2", "1")),
    (("phase", "--bias-std", "0,1,1000"), ("bias_std (count)", "at most 200", "1000")),
    (("phase", "--out", "picture.foo"), ("foo", "svg", "csv")),
    (("phase", "--out", "/proc/none/p.svg"), ("no such folder",)),
]


@pytest.mark.parametrize(("arguments", "says"), BAD, ids=lambda part: " ".join(part)[:50])
def test_bad_input_is_one_line_before_anything_is_measured(arguments, says, monkeypatch, tmp_path):
    monkeypatch.setattr(Task, "run", lambda task: pytest.fail("measured before all was checked"))
    monkeypatch.chdir(tmp_path)
    refused(rmt(*arguments), *says)
    assert list(tmp_path.iterdir()) == []


def test_a_broken_study_is_one_line(tmp_path):
    path = tmp_path / "s.toml"
    for content, says in (("[[rows]\n", "TOML"), ("[[rows]]\ndepht = 1", "did you mean 'depth'")):
        path.write_text(content)
        refused(rmt("report", path, "--out", tmp_path / "out"), str(path), says)
    assert not (tmp_path / "out").exists()


def test_a_measurement_file_that_is_none_is_one_line(tmp_path):
    good, bad = tmp_path / "good.npz", tmp_path / "bad.npz"
    assert rmt("measure", "--widths", "9x2", "--draws", 2, "--out", good).exit_code == 0
    np.save(tmp_path / "array.npy", np.ones(3))
    np.savez(tmp_path / "other.npz", a=np.ones(3))
    others, problems = [(tmp_path / name).read_bytes() for name in ("array.npy", "other.npz")], []
    for content in (good.read_bytes()[:300], b"", b"hello", *others):
        bad.write_bytes(content)
        result = rmt("compare", "--widths", "9x2", "--measurement", bad)
        if result.exit_code != 2 or result.stderr.count("\n") != 1 or str(bad) not in result.stderr:
            problems.append((content[:10], result.exit_code, result.stderr, result.exception))
    assert problems == []
    refused(rmt("compare", "--widths", "8x2", "--measurement", good), "9", "8")


def test_what_was_saved_is_what_is_compared(tmp_path):
    path = tmp_path / "m.npz"
    network = ("--widths", "20x2", "--activation", "linear", "--init", "orthogonal", "--seed", 4)
    assert rmt("measure", *network, "--draws", 3, "--out", path).exit_code == 0
    saved, direct = rmt("compare", *network, "--measurement", path), rmt("compare", *network, "--draws", 3)
    assert saved.exit_code == direct.exit_code == 0
    assert saved.stdout == direct.stdout


@pytest.mark.parametrize(("network", "status", "verdict"), [
    (("--widths", "60x2", "--activation", "linear", "--init", "orthogonal", "--draws", 3), 0, "agrees"),
    (("--widths", "150x1", "--activation", "linear", "--init", "xavier_normal", "--draws", 10), 0, "agrees"),
    (("--widths", "150x1", "--activation", "linear", "--init", "xavier_normal", "--draws", 1), 3, "undecided"),
], ids=lambda part: str(part)[:40])
def test_the_exit_status_of_compare_is_the_verdict(network, status, verdict, tmp_path):
    picture = tmp_path / "picture.svg"
    plain, machine = rmt("compare", *network, "--out", picture), rmt("compare", *network, "--json")
    assert (plain.exit_code, machine.exit_code) == (status, status), plain.output
    assert json.loads(machine.stdout)["verdict"] == verdict
    assert verdict in plain.stdout
    assert "<svg" in picture.read_text()


def test_a_solver_that_does_not_converge_leaves_the_work_incomplete(monkeypatch):
    def fails(*_):
        raise ConvergenceError("no root")

    monkeypatch.setattr(network_commands, "_predicted", fails)
    result = rmt("predict", "--widths", "9x2")
    assert (result.exit_code, result.stdout, result.stderr) == (3, "", "rmt: incomplete: no root\n")


def test_values_a_fifth_too_large_differ(tmp_path):
    path, network = tmp_path / "m.npz", ("--widths", "100x1", "--activation", "linear", "--init", "xavier_normal")
    assert rmt("measure", *network, "--seed", 1, "--out", path).exit_code == 0
    true = Measurement.load(path)
    replace(true, log_singular_values=true.log_singular_values + 0.2).save(path)
    result = rmt("compare", *network, "--measurement", path)
    assert (result.exit_code, "differs" in result.stdout) == (1, True)


def strict(text):
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


@pytest.mark.parametrize("network", [
    ("--widths", "20x3"), ("--widths", "64,9x2", "--inputs", "digits"), ("--widths", "2x40"), ("--widths", "5"),
    ("--widths", "1x1"), ("--widths", "10x200", "--init", "gaussian(sigma_w=3)"),
], ids=" ".join)
@pytest.mark.parametrize("command", [("predict",), ("measure", "--draws", 2), ("compare", "--draws", 2)], ids=str)
def test_json_is_strict_for_any_network(command, network):
    result = rmt(*command, *network, "--json")
    assert result.exit_code in ((0, 1, 3) if command[0] == "compare" else (0,)), result.exception
    content = strict(result.stdout)
    assert len(content) == 2 or "mass_at_zero" in content


def test_a_network_outside_the_range_of_a_float_is_predicted_or_refused_in_one_line():
    result = rmt("predict", "--widths", "10x2000", "--init", "gaussian(sigma_w=3)", "--json")
    if result.exit_code != 0:
        refused(result)
    else:
        strict(result.stdout)


def test_a_signal_that_fades_is_predicted():
    """GELU at lecun_normal halves the signal's size and more a layer: thirty of them."""
    result = rmt("predict", "--widths", "20x30", "--activation", "gelu", "--init", "lecun_normal", "--json")
    assert result.exit_code == 0, result.exception
    strict(result.stdout)


def test_an_interrupted_measurement_without_a_store_is_not_called_stored(monkeypatch):
    def interrupted(task):
        raise KeyboardInterrupt

    monkeypatch.setattr(Task, "run", interrupted)
    result = rmt("measure", "--widths", "9x2")
    assert result.exit_code == 3
    assert "measured is stored" not in result.stderr


PARTLY = """
draws = 3
[[rows]]
init = "orthogonal"
activation = ["linear", "tanh"]
depth = 1
width = 6
"""


def test_a_report_of_networks_that_raise_shows_how_many_did_not(tmp_path, monkeypatch):
    run = Task.run

    def partly(task):
        if task.index == 1 or "tanh" in task.label:
            raise ArithmeticError(f"network {task.index}")
        return run(task)

    monkeypatch.setattr(Task, "run", partly)
    monkeypatch.setattr(report_command, "workers", lambda: ThreadPoolExecutor(1))  # where the patch holds
    (tmp_path / "study.toml").write_text(PARTLY)
    result = rmt("report", tmp_path / "study.toml", "--out", tmp_path / "out")
    assert result.exit_code == 3
    said = [line for line in result.stderr.splitlines() if line.startswith("rmt: incomplete: ")]
    assert len(said) == 4 + 1  # networks, and the row that has none
    assert "empirical.build(network, " in said[0]
    assert "none of its networks" in said[-1]
    assert "2 of 3" in (tmp_path / "out" / "summary.csv").read_text()
    assert "2 of 3" in (tmp_path / "out" / "index.html").read_text()


CORE = "import sys; sys.modules[sys.argv.pop(1)] = None; from figures import main; sys.argv[0] = 'rmt'; main()"


@pytest.mark.parametrize(("missing", "extra", "arguments"), [
    ("torch", "torch", "measure --widths 9x2"), ("click", "figures", "predict --widths 9x2"),
    ("torch", "torch", "compare --widths 9x2"), ("torch", "torch", "advise examples/model.py:make_model --input 3,9,9"),
    ("matplotlib", "figures", "predict --widths 9x2 --out p.svg"), ("torch", "torch", "figures bjorck2018/fig1"),
    ("matplotlib", "figures", "compare --widths 9x2 --out p.svg"), ("matplotlib", "figures", "figures bjorck2018/fig8"),
    ("jinja2", "figures", "report studies/phase.toml"), ("matplotlib", "figures", "phase --out p.svg"),
    ("matplotlib", "figures", "advise examples/model.py:make_model --input 3,9,9 --out p.svg"),
    ("sklearn", "data", "predict --widths 64,9 --inputs digits"),
])
def test_a_core_install_names_the_extra(missing, extra, arguments):
    done = subprocess.run([sys.executable, "-c", CORE, missing, *arguments.split()], capture_output=True, text=True)
    assert done.stderr.count("\n") == 1
    assert "None" not in done.stderr
    for part in ("rmt: ", missing.replace("sklearn", "scikit-learn"), "pip install 'rmt[", extra):
        assert part in done.stderr
    assert done.returncode == 2  # 1 would say that compare differs


@pytest.mark.parametrize(("suffix", "first"), [
    ("csv", "quantity,predicted,measured,low,high,note"), ("md", "| quantity | predicted |"),
    ("tex", r"\begin{tabular}"), ("html", "<table><thead><tr><th>quantity</th>"),
])
def test_a_comparison_is_written_in_every_form(suffix, first, tmp_path):
    out = tmp_path / f"table.{suffix}"
    result = rmt("compare", "--widths", "12x2", "--draws", 5, "--out", out)
    assert result.exit_code in (0, 1, 3)
    text = out.read_text()
    assert text.startswith(first)
    for quantity in ("verdict", "discrepancy", "raw discrepancy", "p-value", "mass at zero", "condition number"):
        assert quantity in text
        assert quantity in result.stdout
    assert "nan" not in text
