"""What lies under the resolution is counted as such: no statistic, no picture's number and no advice rests on it."""

import json
import math
import textwrap
from functools import partial

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

import rmt
from empirical import inputs, log_singular_values, measure, spectral_density
from empirical.advice import Numbers
from empirical.diagnose import diagnose
from empirical.monitor import SpectrumMonitor
from figures.cli import cli


@pytest.fixture(autouse=True)
def random_state():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


class Guarded(nn.Module):
    """Cannot be taken apart: it looks at its values."""

    def __init__(self, layers):
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
            if torch.isnan(x).any():
                raise ValueError("not a number")
        return x


def two_layers():
    layers = [nn.Linear(64, 64, bias=False), nn.ReLU(), nn.Linear(64, 64, bias=False)]
    for layer in layers[::2]:
        nn.init.kaiming_normal_(layer.weight)
    return layers


def test_zeros_that_an_svd_cannot_tell_from_small_values_are_no_values():
    layers = two_layers()
    known, guarded = diagnose(nn.Sequential(*layers), 64), diagnose(Guarded(layers), 64)
    assert guarded.unresolved == known.summary["mass_at_zero"] > 0.3
    assert "isnan" in guarded.unresolved_because
    assert guarded.summary["log_smallest_s"] is None
    assert guarded.summary["mass_at_zero"] == 0
    for key in ("log_largest_s", "log_median_s", "gradient_growth"):
        assert guarded.summary[key] == pytest.approx(known.summary[key], rel=1e-9)
    assert not any("deviation" in line or "do not reach" in line for line in guarded.advice)
    assert (known.unresolved, known.unresolved_because) == (0, "")


def test_thirty_linear_layers_have_no_smallest_value():
    layers = [nn.Linear(30, 30, bias=False) for _ in range(30)]
    true = diagnose(nn.Sequential(*layers), 30)
    found = diagnose(Guarded(layers), 30)
    assert true.summary["log_smallest_s"] < found.log_resolution.max() - 10
    assert 0.05 < found.unresolved < 1
    assert found.summary["log_smallest_s"] is None
    assert found.numbers.spread is None
    assert found.summary["log_largest_s"] == pytest.approx(true.summary["log_largest_s"], abs=1e-9)


@pytest.mark.parametrize("activation", [nn.Identity, nn.ReLU])
def test_what_the_steps_do_not_see_of_a_jacobian_that_is_not_formed_is_not_resolved(activation, monkeypatch):
    layers = [part for _ in range(8) for part in (nn.Linear(200, 200, bias=False), activation())]
    for layer in layers[::2]:
        nn.init.kaiming_normal_(layer.weight)
    module = nn.Sequential(*layers)
    true = diagnose(module, 200)
    monkeypatch.setattr("empirical.diagnose._LARGEST", 100)
    monkeypatch.setattr("empirical.diagnose.spectral_density", partial(spectral_density, steps=30))
    found = diagnose(module, 200)
    assert found.summary["log_largest_s"] == pytest.approx(true.summary["log_largest_s"], abs=1e-3)
    assert found.summary["gradient_growth"] == pytest.approx(true.summary["gradient_growth"], rel=0.1)
    assert found.unresolved == pytest.approx(np.mean(true.log_singular_values <= found.log_floor), abs=0.1)
    assert found.unresolved > 0.4
    assert found.summary["log_smallest_s"] is None
    assert found.summary["log_median_s"] is None
    assert found.summary["mass_at_zero"] == 0
    assert found.numbers.spread is None
    assert "30 steps from each of 8 random vectors" in found.unresolved_because


class AllButOne(nn.Module):
    """An orthogonal matrix, and one of its directions times a number."""

    def __init__(self, times):
        super().__init__()
        self.matrix, self.times = nn.Linear(200, 200, bias=False), times
        nn.init.orthogonal_(self.matrix.weight)

    def forward(self, x):
        y = self.matrix(x)
        return y - (1 - self.times) * y.mean(1, keepdim=True)


@pytest.mark.parametrize("steps", [100, 200])
@pytest.mark.parametrize("times", [0.0, 1e-9, 1e-5, 1e-2, 1.0])
def test_the_floor_of_a_jacobian_that_is_not_formed_is_no_smallest_value(times, steps, monkeypatch):
    """Zero, 1e-9 and 1e-5 were all "smallest 3.95e-5", converged: one value of 1100, less than its error."""
    module = AllButOne(times)
    smallest = spectral_density(module, torch.randn(2, 200), steps=steps).extremes.smallest
    assert smallest.converged == (times > 1e-4)
    monkeypatch.setattr("empirical.diagnose._LARGEST", 100)
    found = diagnose(module, 200)
    if times > 1e-4:
        assert math.exp(smallest.log_value) == pytest.approx(times, rel=1e-3)
        assert math.exp(found.summary["log_smallest_s"]) == pytest.approx(times, rel=1e-3)
        assert found.unresolved == 0
    else:
        assert found.summary["log_smallest_s"] is None
        assert 0 < found.unresolved < 0.03
        assert found.summary["log_median_s"] == pytest.approx(0, abs=0.01)
        assert "the Jacobian was not formed" in found.unresolved_because
        assert found.numbers.spread is None


def test_a_share_that_is_less_than_its_error_is_not_resolved_all_the_same(monkeypatch):
    """A tenth of the values lay under the floor, and none were said to."""
    monkeypatch.setattr("empirical.diagnose._LARGEST", 100)
    module = nn.Sequential(*[nn.Linear(400, 400) for _ in range(3)])
    found = diagnose(module, 400)
    logs = log_singular_values(module, torch.randn(1, 400))[0]
    under = np.mean(logs <= found.log_floor)
    assert under > 0.01
    assert found.unresolved == pytest.approx(under, abs=0.1)
    assert found.unresolved > 0
    assert found.numbers.spread is None
    assert found.summary["gradient_growth"] == pytest.approx(np.exp(2 * logs).mean(), rel=0.1)


def test_a_jacobian_of_zeros_is_known_without_forming_it(monkeypatch):
    monkeypatch.setattr("empirical.diagnose._LARGEST", 10)
    found = diagnose(nn.Sequential(nn.Linear(20, 20), nn.Threshold(1e9, 0.0)), 20)
    assert found.density is not None
    assert (found.summary["mass_at_zero"], found.unresolved, found.summary["log_median_s"]) == (1, 0, -math.inf)
    assert found.numbers == Numbers(-math.inf, 0.0)


def test_the_command_says_how_many_and_why(tmp_path):
    file = tmp_path / "guarded.py"
    file.write_text(textwrap.dedent("""
        import torch
        from torch import nn

        class Guarded(nn.Module):
            def __init__(self):
                super().__init__()
                self.layers = nn.ModuleList(nn.Linear(40, 40, bias=False) for _ in range(30))

            def forward(self, x):
                for layer in self.layers:
                    x = layer(x)
                    if x.abs().max().item() > 1e30:
                        raise ValueError("too large")
                return x
        """))
    shown = CliRunner().invoke(cli, ["advise", f"{file}:Guarded", "--input", "40"])
    assert shown.exit_code == 0, shown.output
    rows = {line[:18].strip(): line[18:].split() for line in shown.stdout.splitlines()}
    assert rows["smallest s"] == ["not", "resolved"]
    assert 0.05 < float(rows["not resolved"][0]) < 1
    assert "guarded.py:13: if x.abs().max().item() > 1e30" in " ".join(shown.stdout.split())
    assert "nothing to change" not in shown.stdout
    asked = json.loads(CliRunner().invoke(cli, ["advise", f"{file}:Guarded", "--input", "40", "--json"]).stdout)
    assert asked["measured"]["log_smallest_s"] is None
    assert asked["measured"]["unresolved"] > 0.05
    assert "1e30" in asked["unresolved_because"]


def test_a_measurement_and_a_comparison_conclude_nothing_from_them():
    """Guarded linear layers, whose law has no zeros, and ReLU layers, whose zeros an SVD does not see."""
    def linear():
        return Guarded([nn.Linear(40, 40, bias=False) for _ in range(12)])

    x = inputs.array(np.random.default_rng(0).standard_normal((4, 40)))
    found = measure(linear, draws=6, inputs=x, progress=False)
    known = measure(lambda: nn.Sequential(*linear().layers), draws=6, inputs=x, progress=False)
    row, true = found.records()[0], known.records()[0]
    assert 0 < row["unresolved"] < 0.3
    assert row["log_smallest_s"] is None
    assert true["unresolved"] == 0
    assert true["log_smallest_s"] < found.resolution[0, 0]
    assert (row["log_largest_s"], row["gradient_growth"]) == pytest.approx(
        (true["log_largest_s"], true["gradient_growth"]), rel=1e-9)
    lines = found.table().splitlines()
    assert "not resolved" in lines[0]
    assert "not resolved" in lines[1]
    assert "not resolved" not in known.table()
    law = rmt.predict(rmt.mlp([40] * 13, "linear", rmt.schemes.uniform(3**-0.5)))
    one, two = rmt.compare(law, found), rmt.compare(law, known)
    assert one.unresolved == pytest.approx(np.mean([row["unresolved"] for row in found.records()]))
    assert (one.p_value, one.zscores.size, one.log_edges[1][0]) == (None, 0, -math.inf)
    assert two.p_value is not None
    assert one.discrepancy <= two.discrepancy + 1e-12
    assert one.wasserstein < two.wasserstein + 0.1
    cells = {row[0]: row[2] for row in one.rows()}
    assert (cells["smallest s > 0"], cells["condition number"]) == ("not resolved",) * 2
    assert "not resolved" in one.plot().get_title()
    relu = measure(lambda: Guarded(two_layers()), draws=6, progress=False,
                   inputs=inputs.array(np.random.default_rng(0).standard_normal((4, 64))))
    verdict = rmt.compare(rmt.predict(rmt.mlp([64] * 3, activate_last=False)), relu)
    assert verdict.verdict == "undecided"
    assert "not resolved: they may be zeros or not" in verdict.reason


def test_a_monitor_counts_them_too_and_says_why():
    layers = [layer.double() for layer in two_layers()]
    x = torch.randn(3, 64, dtype=torch.float64)
    known = SpectrumMonitor(nn.Sequential(*layers), x, law=None)
    guarded = SpectrumMonitor(Guarded(layers), x, law=None)
    one, two = known.step(), guarded.step()
    assert two.unresolved == one.mass_at_zero > 0.3
    assert (two.mass_at_zero, known.unresolved_because) == (0, "")
    assert "isnan" in guarded.unresolved_because
    for key in ("log_largest", "log_median", "log_smallest", "gradient_growth"):
        assert getattr(two, key) == pytest.approx(getattr(one, key), abs=1e-9)


def test_a_monitor_does_not_wait_for_a_chain_that_takes_long(monkeypatch):
    monkeypatch.setattr("empirical.monitor._PATIENCE", 0.0)
    monitor = SpectrumMonitor(nn.Sequential(*two_layers()), torch.randn(2, 64), law=rmt.MarchenkoPastur(1))
    found = monitor.step()
    assert found.unresolved > 0.3
    assert "the accurate chain would take about" in monitor.unresolved_because
    assert math.isfinite(found.log_smallest)
    assert found.distance is not None


def test_values_that_would_take_minutes_are_marked_and_how_to_ask_is_said():
    module, x = nn.Sequential(*two_layers()), torch.randn(1, 64)
    with pytest.warns(UserWarning, match=r"would take about 1 second .*seconds=math.inf\) takes it"):
        marked = log_singular_values(module, x, seconds=0)
    known = log_singular_values(module, x, seconds=math.inf)
    zero = np.isneginf(known)
    np.testing.assert_allclose(marked[~zero], known[~zero], atol=1e-9)
    assert np.isfinite(marked[zero]).all()
    with pytest.raises(ValueError, match="seconds must be in"):
        log_singular_values(module, x, seconds=-1)
