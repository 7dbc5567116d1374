"""Rows 15 and 30 of the table of faults: what work takes is known, and refused or confirmed, before it starts."""

import sys
import time

import pytest
from click.testing import CliRunner

from empirical import estimate, measure, study_estimate
from empirical.estimate import Estimate
from empirical.inputs import gaussian
from empirical.measure import estimated
from empirical.study import StudyError, load
from empirical.task import Task
from figures import options
from figures.cli import cli
from rmt import Activation, BatchNorm, Conv2d, Network, mlp
from rmt.networks.zoo import residual_mlp
from rmt.text import amount, duration

HUGE = '[[rows]]\ninit = "orthogonal"\nactivation = "linear"\n'


def rmt(*arguments, **options):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], **options)


@pytest.fixture
def forbidden(monkeypatch):
    monkeypatch.setattr(Task, "run", lambda task: pytest.fail("measured"))
    monkeypatch.setattr("rmt.networks.predict.predict", lambda *_: pytest.fail("predicted"))
    monkeypatch.setattr("figures.report_command.workers", lambda: pytest.fail("started workers"))


def test_an_estimate_in_words():
    assert str(Estimate(14 * 3600, 3.2e9, 4e7)) == "about 14 hours, 3.2 GB of memory, 40 MB of disk"
    assert [duration(x) for x in (0.1, 30, 120, 7200, 5e6, 1e12)] == [
        "1 second", "30 seconds", "2 minutes", "2 hours", "58 days", "32,000 years"]
    assert [amount(x) for x in (12, 123_456, 3.2e13)] == ["12 bytes", "120 kB", "32 TB"]


@pytest.mark.parametrize("network", [
    mlp([100] * 31, "tanh"), mlp([400] * 5, "relu"), mlp([10] * 300, "tanh", "lecun_normal"),
    residual_mlp(8, 200, "tanh", "lecun_normal", "batch", 1.0),
    Network((16, 8, 8), [Conv2d(16, 3, padding_mode="circular"), Activation("tanh")]),
    Network((4, 8, 8), [Conv2d(16, 3, padding_mode="circular"), BatchNorm(), Activation("relu")] * 2),
], ids=str)
def test_the_time_of_a_network_is_known_within_a_factor_of_eight(network):
    """Of two on a quiet machine; others may work beside while one of the two is timed."""
    one = estimate.one_network(estimate.parts(network), network.n_inputs, 1, estimate.normalizes(network.layers))
    task, took = Task(network, "a", gaussian(), 1, 0, 0, "cpu", "float64"), []
    for _ in range(3):
        start = time.process_time()
        task.run()
        took.append(time.process_time() - start)
    assert 0.125 < one.seconds / min(took) < 8
    assert one.memory > 8 * network.n_inputs**2


def test_only_networks_that_are_not_stored_take_time(tmp_path):
    net = mlp([20] * 4)
    every = estimated(net, draws=50, inputs=gaussian(), store=tmp_path)
    measure(net, draws=40, store=tmp_path, progress=False)
    rest = estimated(net, draws=50, inputs=gaussian(), store=tmp_path)
    assert rest.seconds == pytest.approx(every.seconds / 5)
    assert rest.disk == pytest.approx(every.disk / 5)
    measure(net, draws=50, store=tmp_path, progress=False)
    assert estimated(net, draws=50, inputs=gaussian(), store=tmp_path).seconds == 0


@pytest.mark.parametrize(("arguments", "says"), [
    (("measure", "--widths", "20000x10000", "--draws", 100_000), ("draws=100000 of 20000", "years", "are free")),
    (("measure", "--widths", "90000x10", "--draws", 1, "--yes"), ("draws=1 of", "GB of memory", "are free")),
    (("compare", "--widths", "90000x10", "--draws", 1, "--yes"), ("draws=1 of", "GB of memory", "are free")),
    (("measure", "--widths", "300x100", "--activation", "tanh", "--init", "lecun_normal", "--draws", 50_000),
     ("measuring 50000 networks", "hours", "--yes starts it")),
    (("compare", "--widths", "300x100", "--activation", "tanh", "--init", "lecun_normal", "--draws", 50_000),
     ("measuring 50000 networks", "hours", "--yes starts it")),
    (("predict", "--widths", "20000x10000"), ("predicting 20000-20000x10000", "--yes starts it")),
])
def test_row_30_the_command_line_refuses_or_names_yes(arguments, says, forbidden):
    done = rmt(*arguments)
    assert (done.exit_code, done.stdout) == (2, ""), done.output
    assert done.stderr.count("\n") == 1
    for part in says:
        assert part in done.stderr


def test_row_30_yes_and_a_terminal_start_it(monkeypatch):
    long = Estimate(7200.0, 1e6)
    monkeypatch.setattr(sys.modules["empirical.measure"], "estimated", lambda *_, **__: long)
    short = ("measure", "--widths", "5x2", "--draws", 2)
    assert "--yes starts it" in rmt(*short).stderr
    done = rmt(*short, "--yes")
    assert done.exit_code == 0
    assert "rmt: about 2 hours, 1 MB of memory" in done.stderr
    monkeypatch.setattr(options, "_terminal", lambda: True)
    asked = rmt(*short, input="n\n")
    assert (asked.exit_code, asked.stdout) == (2, "")
    assert "takes about 2 hours, 1 MB of memory. Start?" in asked.stderr
    assert rmt(*short, input="y\n").exit_code == 0


def test_row_30_measure_names_the_argument_and_what_it_takes(monkeypatch, tmp_path):
    monkeypatch.setattr(Task, "run", lambda task: pytest.fail("measured"))
    with pytest.raises(ValueError, match=r"draws=1000000000000 takes .* PB of memory; .* of memory are free"):
        measure(mlp([200] * 3), draws=10**12, progress=False)
    with pytest.raises(ValueError, match=r"source='90000-90000x3.* takes about .* TB of memory; .* are free"):
        measure(mlp([90_000] * 4), draws=1, progress=False)
    with pytest.raises(ValueError, match="draws=1 of inputs_per_network=1000000000 takes"):
        measure(mlp([200] * 3), draws=1, inputs_per_network=10**9, progress=False)
    monkeypatch.setattr(estimate, "free_memory", lambda: 3e6)
    with pytest.raises(ValueError, match="source='200-200x2"):
        measure(mlp([200] * 3), draws=1, store=tmp_path, progress=False)


def test_row_30_a_study_is_estimated_before_workers_start(tmp_path, forbidden):
    study = tmp_path / "study.toml"
    for rows, says in (("depth = 10000\nwidth = 20000\ndraws = 100000\n", "are free"),
                       ("depth = [100, 200]\nwidth = 500\ndraws = 3000\n", "--yes starts it")):
        study.write_text(HUGE + rows)
        done = rmt("report", study, "--out", tmp_path / "out")
        assert done.exit_code == 2
        for part in (str(study), "takes about", says):
            assert part in done.stderr
        assert not (tmp_path / "out").exists()
    study.write_text(HUGE + "depth = [100, 200]\nwidth = 500\ndraws = 3000\n")
    assert study_estimate.estimated(load(study).rows, tmp_path / "none", 2).seconds > 600


def numbers(count):
    return str([*range(1, count + 1)])


@pytest.mark.parametrize(("text", "says"), [
    (HUGE + f"depth = {numbers(100)}\nwidth = {numbers(100)}\ndraws = {numbers(100)}\n",
     ("[[rows]] must be at most 10000 rows", "got 1000000", "depth 100 x width 100 x draws 100")),
    (HUGE + f"depth = {numbers(1000)}\nwidth = {numbers(1000)}\ninputs = {numbers(1000)}\n", ("got 1000000000",)),
    ((HUGE + f"depth = {numbers(100)}\nwidth = {numbers(99)}\n") * 2, ("got 19800",)),
    ("# " + "x" * 2**22 + "\n" + HUGE, ("at most 4 MB",)),
    ("seed = " + "1" * 5000, ("not a TOML file",)),
    ("seed = " + "[" * 100_000, ("not a TOML file",)),
], ids=["crossed", "crossed 10^9", "two tables", "long file", "long number", "deep"])
def test_row_15_a_huge_study_names_file_and_key_before_it_is_made(text, says, tmp_path):
    (path := tmp_path / "study.toml").write_text(text)
    start = time.process_time()
    with pytest.raises(StudyError) as error:
        load(path)
    assert time.process_time() - start < 3
    for part in (str(path), *says):
        assert part in str(error.value)
    assert "\n" not in str(error.value)


def test_row_15_an_error_that_quotes_a_huge_value_is_a_line_that_a_terminal_holds(tmp_path):
    """It was a line of four million characters."""
    (path := tmp_path / "study.toml").write_text(HUGE.replace("orthogonal", "a" * 3_000_000) + "depth = 1\nwidth = 3\n")
    done = rmt("report", str(path))
    assert (done.exit_code, done.stdout) == (2, "")
    assert len(done.stderr) < 2100
    assert "unknown init 'aaa" in done.stderr
    assert "(one of: " in done.stderr or " … " in done.stderr


def test_row_15_a_file_of_hundreds_of_megabytes_is_not_read(tmp_path):
    with open(path := tmp_path / "study.toml", "wb") as file:
        file.truncate(800_000_000)
    start = time.process_time()
    with pytest.raises(StudyError, match=r"at most 4 MB"):
        load(path)
    assert time.process_time() - start < 1


@pytest.mark.parametrize("arguments", [
    ("measure", "--widths", "9x2", "--out", "PLACE/m.npz"), ("compare", "--widths", "9x2", "--out", "PLACE/m.csv"),
    ("predict", "--widths", "9x2", "--out", "PLACE/m.png"), ("measure", "--widths", "9x2", "--store", "PLACE/s"),
    ("report", "STUDY", "--out", "PLACE/out"), ("advise", "examples/model.py:make_model", "--input", "3,8,8", "--out",
                                                "PLACE/m.svg")])
def test_row_03_a_place_that_cannot_be_written_is_found_first(arguments, tmp_path, forbidden):
    (tmp_path / "s.toml").write_text(HUGE + "depth = 1\nwidth = 3\n")
    done = rmt(*(one.replace("PLACE", "/proc").replace("STUDY", str(tmp_path / "s.toml")) for one in arguments))
    assert (done.exit_code, done.stdout) == (2, ""), done.output
    assert "is not a writable folder" in done.stderr
