"""A monitor in a training loop: what it records, and that training does not know of it."""

import copy
import math
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import rmt
from empirical import log_singular_values
from empirical.monitor import SpectrumMonitor
from empirical.progress import waiting
from empirical.singular_values import Values
from rmt.networks.layers import UnsupportedStructure


@pytest.fixture(autouse=True)
def random_state():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        yield


def mlp():
    return nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.3), nn.Linear(12, 12),
                         nn.BatchNorm1d(12, momentum=None), nn.Tanh(), nn.Linear(12, 5)).double()


def matrix(a):
    """A linear module of this matrix."""
    module = nn.Linear(a.shape[1], a.shape[0], bias=False).double()
    with torch.no_grad():
        module.weight.copy_(torch.as_tensor(a))
    return nn.Sequential(module)


def trained(watched, steps=20):
    """Everything that training has changed after some steps, the random state included."""
    torch.manual_seed(11)
    module = mlp().train()
    module[2].eval()  # modes are mixed, and stay so
    optimizer = torch.optim.SGD(module.parameters(), 0.05, momentum=0.9)
    monitor = SpectrumMonitor(module, torch.linspace(-1, 1, 24, dtype=torch.float64).reshape(4, 6), every=3,
                              law=rmt.MarchenkoPastur(1)) if watched else None
    for _ in range(steps):
        optimizer.zero_grad()
        module(torch.randn(16, 6, dtype=torch.float64)).square().mean().backward()
        optimizer.step()
        if monitor:
            monitor.step()
    state = [*module.state_dict().values(), *(value.grad for value in module.parameters()), torch.get_rng_state(),
             *(slot["momentum_buffer"] for slot in optimizer.state_dict()["state"].values())]
    return state, [part.training for part in module.modules()], monitor


def test_training_is_the_same_to_the_last_bit_with_and_without_a_monitor():
    (alone, modes, _), (watched, watched_modes, monitor) = trained(False), trained(True)
    assert len(monitor.records) == 7
    assert modes == watched_modes
    assert all(torch.equal(a, b) for a, b in zip(alone, watched, strict=True))
    assert all(np.isfinite(list(monitor.summary().values())))


def test_records_are_those_of_the_matrix():
    a = np.random.default_rng(0).normal(size=(5, 8))
    s = np.linalg.svd(a, compute_uv=False)
    monitor = SpectrumMonitor(matrix(a), torch.randn(3, 8, dtype=torch.float64), law=rmt.MarchenkoPastur(8 / 5))
    found = monitor.step()
    assert monitor.records == (found,)
    assert found.step == 1
    assert found.log_largest == pytest.approx(math.log(s[0]), abs=1e-12)
    assert found.log_median == pytest.approx(math.log(s[2]), abs=1e-12)
    assert found.log_smallest == pytest.approx(math.log(s[-1]), abs=1e-12)
    assert found.log_condition_number == pytest.approx(math.log(np.linalg.cond(a)), abs=1e-12)
    assert found.gradient_growth == pytest.approx(np.sum(a**2) / 5, rel=1e-12)
    assert found.mass_at_zero == pytest.approx(3 / 8)
    assert found.unresolved == 0
    logs = np.tile(np.r_[np.log(s), np.full(3, -np.inf)], (1, 3, 1))
    assert found.distance == pytest.approx(rmt.compare(monitor.law, logs).discrepancy, abs=1e-4)


def test_no_law_is_solved_while_training_waits(monkeypatch, capsys):
    """24 residual blocks took 53 s at the first step and 5 s at others: the law is solved and tabulated before."""
    monitor = SpectrumMonitor(matrix(np.eye(4)), torch.randn(3, 4, dtype=torch.float64), law=rmt.MarchenkoPastur(1))

    def solved(*_):
        raise AssertionError("a law was solved")

    for kind in (rmt.laws.views.LogView, rmt.laws.views.Spectrum):
        for name in ("cdf", "_local", "atoms", "support"):
            monkeypatch.setattr(kind, name, solved if name != "atoms" else property(solved))
    assert 0 < monitor.step().distance < 1
    assert capsys.readouterr() == ("", "")


def test_what_takes_long_is_said_once(capsys, monkeypatch):
    monkeypatch.setattr("empirical.progress._LONG", 0.05)
    with waiting("solving"):
        time.sleep(0.2)
    assert capsys.readouterr().err == ""
    with waiting("solving"):
        begun = time.process_time()
        while time.process_time() < begun + 0.2:
            pass
    assert capsys.readouterr().err == "solving: it takes a while\n"


def test_values_far_under_the_resolution_of_an_svd_are_right():
    a = np.random.default_rng(0).normal(size=(2, 4, 4))
    module = nn.Sequential(*matrix(a[0]), *matrix(np.diag(10.0 ** -np.arange(0, 40, 10))), *matrix(a[1]))
    x = torch.ones(1, 4, dtype=torch.float64)
    found = SpectrumMonitor(module, x, law=None).step()
    assert found.log_smallest == pytest.approx(log_singular_values(module, x)[0, -1], abs=1e-9)
    assert found.log_condition_number > 60
    assert found.unresolved == 0


def test_ends_are_means_over_the_inputs():
    module, x = nn.Sequential(nn.Linear(6, 6), nn.Tanh()).double(), torch.randn(4, 6, dtype=torch.float64)
    logs = log_singular_values(module, x)
    found = SpectrumMonitor(module, x, law=None).step()
    assert found.log_largest == pytest.approx(logs[:, 0].mean(), abs=1e-12)
    assert found.log_median == pytest.approx(np.median(logs, axis=1).mean(), abs=1e-12)
    assert found.log_smallest == pytest.approx(logs[:, -1].mean(), abs=1e-12)
    assert found.distance is None


def test_it_measures_at_the_first_call_and_at_every_so_many_th():
    monitor = SpectrumMonitor(matrix(np.eye(3)), torch.ones(1, 3, dtype=torch.float64), every=4, law=None)
    measured = [call for call in range(1, 11) if monitor.step() is not None]
    assert measured == [1, 4, 8] == [record.step for record in monitor.records]
    assert monitor.measure().step == 10
    assert len(monitor.records) == 4


@pytest.mark.parametrize("law", [rmt.MarchenkoPastur(1), None])
def test_a_writer_and_the_summary_have_the_numbers_of_the_record(law):
    written = {}
    writer = SimpleNamespace(add_scalar=lambda tag, value, step: written.setdefault(step, {}).update({tag: value}))
    monitor = SpectrumMonitor(matrix(np.diag([1.0, 2, 3])), torch.ones(2, 3, dtype=torch.float64), every=2, law=law,
                              writer=writer)
    assert monitor.summary() == {}
    for _ in range(4):
        monitor.step()
    summary = monitor.summary()
    assert all(type(value) is float for value in summary.values())
    assert summary["step"] == 4
    assert summary["log_largest"] == pytest.approx(math.log(3))
    assert ("distance" in summary) == (law is not None)
    assert [*written] == [1, 2, 4]
    assert written[4] == {f"spectrum/{name}": value for name, value in summary.items() if name != "step"}


def test_a_module_that_is_zero_has_values_that_are_no_nan():
    module = nn.Sequential(nn.Linear(4, 4, bias=False), nn.ReLU()).double()
    nn.init.zeros_(module[0].weight)
    monitor = SpectrumMonitor(module, torch.ones(2, 4, dtype=torch.float64), law=rmt.MarchenkoPastur(1))
    found = monitor.step()
    assert found.log_largest == found.log_median == found.log_smallest == -math.inf
    assert found.log_condition_number == math.inf
    assert (found.gradient_growth, found.mass_at_zero, found.unresolved, found.distance) == (0, 1, 0, 1)
    monitor.plot()


def test_values_above_every_float_are_inf_and_not_nan():
    module = nn.Sequential(*[matrix(1e60 * np.eye(3))[0] for _ in range(5)])
    found = SpectrumMonitor(module, 1e-60 * torch.ones(1, 3, dtype=torch.float64), law=None).step()
    assert found.log_largest == pytest.approx(300 * math.log(10))
    assert found.gradient_growth == math.inf


def test_what_a_plain_svd_cannot_resolve_is_counted_apart(monkeypatch):
    logs = np.array([[0.0, -1, -30, -30, -np.inf], [2.0, -1, -2, -28, -np.inf]])
    monkeypatch.setattr("empirical.monitor.measured",
                        lambda module, x, units, seconds: Values(logs, np.array([-30.0, -28]), "no stages"))
    found = SpectrumMonitor(matrix(np.zeros((5, 5))), torch.ones(2, 5, dtype=torch.float64), law=None).step()
    assert (found.mass_at_zero, found.unresolved) == pytest.approx((0.2, 0.3))
    assert (found.log_largest, found.log_smallest, found.log_condition_number) == (1, -1.5, 2.5)
    assert found.log_median == pytest.approx((-0.5 - 1) / 2)


def test_batch_normalization_has_the_statistics_of_training():
    """Of the inputs before any batch; after one step of that batch, without what the running averages began with."""
    module, x = mlp()[:2].train(), 3 + 2 * torch.randn(40, 6, dtype=torch.float64)
    monitor = SpectrumMonitor(module, x, every=1, law=None)
    before = monitor.step()
    module(x)
    after = monitor.step()
    own = copy.deepcopy(module).eval()
    with torch.no_grad():
        own[1].running_var.copy_(own[0](x).var(0))
    assert before.log_largest == pytest.approx(log_singular_values(own, x[:1])[0, 0], abs=1e-9)
    assert after.log_largest == pytest.approx(before.log_largest, abs=1e-9)
    for _ in range(300):
        module(torch.randn(16, 6, dtype=torch.float64))
    late = log_singular_values(copy.deepcopy(module).eval(), x[:1])[0, 0]
    assert monitor.step().log_largest == pytest.approx(late, abs=1e-9)


def test_statistics_that_began_elsewhere_are_kept():
    module, x = nn.Sequential(nn.BatchNorm1d(3)).double().train(), torch.randn(4, 3, dtype=torch.float64)
    module[0].running_var.fill_(0.01)
    module[0].num_batches_tracked.fill_(1)
    found = SpectrumMonitor(module, x, law=None).step()
    assert found.log_largest == pytest.approx(-0.5 * math.log(0.01 + 1e-5))


def described(network):
    def describe(module, shape):
        if isinstance(network, Exception):
            raise network
        return network
    return describe


def test_the_law_is_predicted_from_the_description_of_the_module(monkeypatch):
    network = rmt.Network(6, [rmt.Dense(12, "lecun_normal"), rmt.BatchNorm(), rmt.Activation("tanh"), rmt.Dense(5)])
    monkeypatch.setattr("empirical.monitor.describe", described(network))
    x = torch.randn(3, 6, dtype=torch.float64) + 1
    cosines = nn.functional.cosine_similarity(x[:, None], x[None], dim=-1).numpy()[np.triu_indices(3, 1)]
    monitor = SpectrumMonitor(nn.Sequential(nn.Linear(6, 5)), x)
    expected = rmt.predict(network, float((x**2).mean()), float(cosines.mean())).spectrum
    assert monitor.law.log_edges == pytest.approx(expected.log_edges, abs=1e-9)
    assert monitor.why == ""


def test_where_there_is_no_law_it_says_why(monkeypatch):
    monkeypatch.setattr("empirical.monitor.describe", described(UnsupportedStructure("gru: not covered")))
    x = torch.randn(3, 6)
    monitor = SpectrumMonitor(nn.Sequential(nn.Linear(6, 5)), x)
    assert (monitor.law, monitor.why) == (None, "gru: not covered")
    assert "law=None" in SpectrumMonitor(nn.Sequential(nn.Linear(6, 5)), x, law=None).why


def test_the_law_of_a_module_that_is_described():
    module, x = nn.Sequential(nn.Linear(60, 60), nn.Tanh(), nn.Linear(60, 60)), torch.randn(4, 60)
    monitor = SpectrumMonitor(module, x)
    assert monitor.step().distance < 0.08
    assert monitor.law.squared.mean() == pytest.approx(1 / 9 * 0.55, abs=0.02)
    assert "MaxPool1d" in SpectrumMonitor(nn.Sequential(nn.MaxPool1d(2)), torch.randn(1, 2, 4)).why


def test_dropout_that_acts_is_in_the_law(monkeypatch):
    network = rmt.Network(6, [rmt.Dense(6), rmt.Dropout(0.5)])
    monkeypatch.setattr("empirical.monitor.describe", described(network))
    module = nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.5))
    laws = [SpectrumMonitor(module.train(mode), torch.randn(3, 6)).law for mode in (True, False)]
    assert laws[0].atoms == pytest.approx({0.0: 0.5})
    assert laws[1].atoms == {}


@pytest.mark.parametrize("law", [rmt.MarchenkoPastur(0.5), rmt.FussCatalan(3), None])
def test_the_picture_has_labelled_axes_and_the_values(law):
    module = matrix(np.random.default_rng(0).normal(size=(8, 8)) / 8**0.5)
    monitor = SpectrumMonitor(module, torch.ones(2, 8, dtype=torch.float64), every=1, law=law)
    with pytest.raises(ValueError, match="nothing was measured"):
        monitor.plot()
    for _ in range(3):
        monitor.step()
    ax = monitor.plot()
    assert ax.get_xlabel() == "training step"
    assert ax.get_ylabel() == "log₁₀ s"
    lines = {line.get_label(): line.get_ydata() for line in ax.get_lines()}
    for name in ("largest", "median", "smallest"):
        assert lines[f"{name} s"] == pytest.approx([getattr(monitor.records[0], f"log_{name}") / math.log(10)] * 3)
    assert sum(label.startswith("law at initialization") for label in lines) == (law is not None)
    dashed = [line.get_ydata()[0] for line in ax.get_lines() if line.get_linestyle() == "--"]
    assert len(dashed) == (3 if law is not None else 0)
    assert np.isfinite(dashed).all()
    assert monitor.plot(ax) is ax


@pytest.mark.parametrize(("change", "error", "match"), [
    ({"every": 0}, ValueError, "every must be a whole number >= 1, got 0"),
    ({"every": 2.5}, TypeError, "every must be a whole number >= 1, got 2.5"),
    ({"inputs": np.ones((2, 3))}, ValueError, "inputs must be a finite tensor"),
    ({"inputs": torch.ones(3)}, ValueError, "inputs must be a finite tensor"),
    ({"inputs": torch.ones(2, 3, dtype=torch.int64)}, ValueError, "single or double precision"),
    ({"inputs": torch.full((2, 3), math.nan)}, ValueError, "inputs must be a finite tensor"),
    ({"inputs": torch.ones(0, 3)}, ValueError, "not empty"),
    ({"law": "predict"}, ValueError, "did you mean 'predicted'"),
    ({"law": 3}, TypeError, "law must be a Spectrum"),
    ({"writer": print}, TypeError, "writer must have add_scalar"),
    ({"module": torch.sin}, TypeError, "module must be a torch.nn.Module"),
])
def test_bad_arguments_are_refused_at_the_door(change, error, match):
    with pytest.raises(error, match=match):
        SpectrumMonitor(**{"module": nn.Linear(3, 3), "inputs": torch.ones(2, 3), "law": None, **change})
