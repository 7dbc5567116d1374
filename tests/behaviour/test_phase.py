"""Phase diagrams: the command, the picture, the page of a study, and that its theory is the library's."""

import csv
import json
import math
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from click.testing import CliRunner
from matplotlib.figure import Figure

import figures.report
from empirical.study import Phase
from empirical.task import Task
from figures import phase as diagrams
from figures import report_command
from figures.cli import cli
from rmt import ConvergenceError, mlp, plotting, predict
from rmt.networks import meanfield


def rmt(*arguments):
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result


@pytest.mark.parametrize("activation", ["tanh", "hardtanh", "relu"])
def test_the_trainable_depth_of_a_grid_is_that_of_its_points(activation):
    sigma_w, bias_std = np.array([0.5, 1.0, 1.7]), np.array([0.0, 0.3])
    found = diagrams.diagram(activation, sigma_w, bias_std)
    for i, b in enumerate(bias_std):
        for j, w in enumerate(sigma_w):
            if found.region[i, j] == "unbounded":
                assert math.isnan(found.trainable_depth[i, j])
            else:
                expected = meanfield.trainable_depth(activation, sigma_w=w, bias_std=b)
                assert found.trainable_depth[i, j] == pytest.approx(expected, rel=1e-9)


def test_a_grid_taken_in_parts_is_the_same_grid(monkeypatch):
    axes = np.linspace(0.5, 2, 7), np.linspace(0, 1, 5)
    whole = diagrams.diagram("tanh", *axes)
    monkeypatch.setattr(diagrams, "_POINTS", 10)
    parts = diagrams.diagram("tanh", *axes, show=False)
    assert (parts.region == whole.region).all()
    for name in ("sigma_w", "bias_std", "variance", "chi", "correlation", "trainable_depth"):
        np.testing.assert_allclose(getattr(whole, name), getattr(parts, name), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("activation", "depth"), [("tanh", 7), ("relu", 3), ("gelu", 2)])
def test_the_growth_of_a_grid_is_what_predict_says(activation, depth):
    weights, biases = np.array([0.6, 1.5]), np.array([0.0, 0.4])
    found = Phase(activation, (0.6, 1.5, 2), (0.0, 0.4, 2), (1, 1), depth, 20, 2, 0).log_growth(weights, biases)
    for i, b in enumerate(biases):
        for j, w in enumerate(weights):
            network = mlp([20] * (depth + 1), activation, f"gaussian(sigma_w={w})", float(b))
            assert found[i, j] == pytest.approx(predict(network).log_gradient_growth, abs=1e-9)


def test_the_map_of_the_command_line():
    lines = rmt("phase", "--sigma-w", "0.5,3,26", "--bias-std", "0,1,3").stdout.splitlines()
    assert ". ordered, | critical, # chaotic" in lines
    rows = [line.split() for line in lines[4:]]
    assert [row[0] for row in rows] == ["1", "0.5", "0"]
    assert rows[-1][1] == "." * 5 + "|" + "#" * 20
    assert rows[-1][2:] == ["1", "0", "yes"]
    assert float(rows[0][2]) == pytest.approx(meanfield.critical_point("tanh", bias_std=1).sigma_w, rel=1e-5)


def test_a_wide_map_is_thinned_and_says_so():
    shown = rmt("phase", "--activation", "relu", "--sigma-w", "0.5,3,200", "--bias-std", "0,1,2").stdout
    assert "80 of 200 sigma_w" in shown
    assert max(map(len, shown.splitlines())) < 140
    assert re.search(r"\^ +none\n", shown)
    assert re.search(r"\^ +1\.41421 +1 +no", shown)


def test_json_has_the_grids():
    shown = rmt("phase", "--activation", "relu", "--sigma-w", "1,2,3", "--bias-std", "0,1,2", "--json").stdout
    content = json.loads(shown, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert content["region"] == [["ordered", "unbounded", "unbounded"]] * 2
    assert content["chi"][0] == pytest.approx([0.5, 1.125, 2.0])
    assert content["variance"][1] == [pytest.approx(2.0), "inf", "inf"]
    assert content["trainable_depth"][0] == [pytest.approx(6 / math.log(2)), "none", "none"]
    assert content["critical_points"][0]["sigma_w"] == pytest.approx(math.sqrt(2))
    assert content["critical_points"][1] is None
    assert (content["sigma_w"], content["bias_std"]) == ([1, 1.5, 2], [0, 1])


def test_the_diagram_is_written_as_picture_and_as_table(tmp_path):
    small = ("phase", "--sigma-w", "0.8,1.2,3", "--bias-std", "0,0.1,2", "--out")
    for suffix, start in (("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF")):
        rmt(*small, tmp_path / f"p.{suffix}")
        assert (tmp_path / f"p.{suffix}").read_bytes().startswith(start)
    rmt(*small, tmp_path / "p.csv")
    with open(tmp_path / "p.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["sigma_w", "bias_std", "region", "variance", "chi", "correlation", "trainable_depth"]
    assert [(row["sigma_w"], row["bias_std"]) for row in rows[:4]] == [
        ("0.8", "0.0"), ("1.0", "0.0"), ("1.2", "0.0"), ("0.8", "0.1")]
    assert [row["region"] for row in rows[:3]] == ["ordered", "critical", "chaotic"]


@pytest.mark.parametrize(("activation", "says"), [
    ("tanh", {"ordered", "chaotic"}), ("relu", {"ordered", "unbounded"}),
])
def test_the_picture_names_its_regions_and_has_the_critical_line(activation, says):
    ax = Figure().add_subplot()
    found = diagrams.diagram(activation, np.linspace(0.5, 3, 11), np.linspace(0, 1, 5))
    assert plotting.phase_diagram(found, ax) is ax
    assert {text.get_text() for text in ax.texts} == says
    assert (ax.get_legend() is not None) == ("chaotic" in says)
    assert ax.get_xlim() == (0.5, 3)
    assert len(ax.figure.axes) == 2  # with the colours' scale
    plain = meanfield.phase_diagram(activation, found.sigma_w, found.bias_std)
    assert {text.get_text() for text in plotting.phase_diagram(plain, Figure().add_subplot()).texts} == says


STUDY = """
title = "Small"
draws = 3
[phase]
activation = "tanh"
sigma_w = [0.5, 2.0, 4]
bias_std = [0.0, 0.5, 3]
measure = [2, 2]
depth = 3
width = 30
"""


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A small study; networks are measured by a thread, not by processes, which take seconds to start."""
    monkeypatch.setattr(report_command, "workers", lambda: ThreadPoolExecutor(1))
    path = tmp_path / "study.toml"
    path.write_text(STUDY)
    return path


def test_the_page_of_a_phase_diagram(study, tmp_path, monkeypatch):
    out = tmp_path / "out"
    first = rmt("report", study, "--out", out)
    assert {p.name for p in out.iterdir()} == {"index.html", "phase.csv", "phase.md", "phase.tex", "store"}
    with open(out / "phase.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(float(row["sigma_w"]), float(row["bias_std"])) for row in rows] == [
        (0.5, 0.0), (2.0, 0.0), (0.5, 0.5), (2.0, 0.5)]
    assert [row["region"] for row in rows] == ["ordered", "chaotic", "ordered", "chaotic"]
    for row in rows:
        network = mlp([30] * 4, "tanh", f"gaussian(sigma_w={row['sigma_w']})", float(row["bias_std"]))
        assert float(row["predicted_growth"]) ** 3 == pytest.approx(predict(network).gradient_growth, rel=1e-9)
        distance = abs(float(row["measured_growth"]) - float(row["predicted_growth"]))
        assert row["within_3_standard_errors"] == ("yes" if distance <= 3 * float(row["standard_error"]) else "no")
        assert distance < 0.3 * float(row["predicted_growth"])
    page = (out / "index.html").read_text()
    assert page.count("<svg") == 3
    assert page.count("<tr>") == 1 + 4
    assert "0 rows" not in page
    assert "<h2>Summary" not in page
    for word in ("Ordered", "Chaotic", "Trainable depth", "4 measured points"):
        assert word in page
    monkeypatch.setattr(Task, "run", lambda task: pytest.fail("measured again"))
    assert rmt("report", study, "--out", out).stdout == first.stdout
    assert (out / "index.html").read_text() == page
    content = json.loads(rmt("report", study, "--out", out, "--json").stdout)
    assert [row["region"] for row in content["phase"]] == [row["region"] for row in rows]


def test_rows_with_a_bias_stand_beside_a_phase_diagram(study, tmp_path):
    study.write_text(STUDY + '[[rows]]\ninit = "orthogonal"\nactivation = "linear"\ndepth = 1\nwidth = 20\n'
                     "bias_std = [0.0, 0.5]\n")
    out = tmp_path / "out"
    shown = rmt("report", study, "--out", out).stdout
    with open(out / "summary.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["bias_std"] for row in rows] == ["0.0", "0.5"]
    assert list(rows[0])[:5] == ["scheme", "activation", "depth", "inputs", "bias_std"]
    page = (out / "index.html").read_text()
    assert page.count("<svg") == 3 + 2
    assert "orthogonal, bias_std 0.5, linear" in page
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert "scheme" in shown
    assert "trainable depth" in shown


def test_a_row_that_the_solver_gives_up_is_named_and_the_others_have_their_page(study, tmp_path, monkeypatch):
    study.write_text('draws = 3\n[[rows]]\ninit = "orthogonal"\nactivation = "linear"\ndepth = [1, 2]\nwidth = 9\n')
    real = figures.report.row_result

    def fails(row, measurement):
        if row.depth == 2:
            raise ConvergenceError("no root <here>")
        return real(row, measurement)

    monkeypatch.setattr(figures.report, "row_result", fails)
    result = CliRunner().invoke(cli, ["report", str(study), "--out", str(tmp_path / "out")])
    assert result.exit_code == 3
    assert "rmt: incomplete: orthogonal, linear, depth 2, width 9, gaussian inputs: no root <here>\n" in result.stderr
    page = (tmp_path / "out" / "index.html").read_text()
    assert "1 not compared" in page
    assert "no root &lt;here&gt;" in page
    assert page.count("<svg") == 1
    assert (tmp_path / "out" / "summary.csv").read_text().count("\n") == 2
