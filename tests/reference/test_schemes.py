"""Schemes against torch.nn.init on real tensors."""

import math

import pytest

from rmt import schemes

torch = pytest.importorskip("torch")
ROWS, COLUMNS = 900, 400
NORMAL = [
    ("kaiming_normal", {}), ("kaiming_normal", {"mode": "fan_out"}), ("kaiming_normal", {"a": math.sqrt(5)}),
    ("kaiming_normal", {"a": 0.1, "mode": "fan_out", "nonlinearity": "leaky_relu"}),
    *(("kaiming_normal", {"a": 3, "nonlinearity": name})
      for name in ("linear", "relu", "tanh", "selu", "sigmoid", "conv2d")),
    ("xavier_normal", {}), ("xavier_normal", {"gain": 5 / 3}),
]


def weight():
    return torch.empty(ROWS, COLUMNS, dtype=torch.float64)


def drawn(name, options, generator):
    return getattr(torch.nn.init, f"{name}_")(weight(), generator=generator, **options)


@pytest.mark.parametrize(("name", "options"), NORMAL)
def test_the_variance_is_torchs(name, options):
    """The relative error of a variance over n normal entries is sqrt(2/n): 5 of it, false alarm 6e-7 each."""
    entries = drawn(name, options, torch.Generator().manual_seed(1))
    scheme = getattr(schemes, name)(**options)
    error = 5 * math.sqrt(2 / entries.numel())
    assert entries.square().mean().item() == pytest.approx(float(scheme.variance(COLUMNS, ROWS)), rel=error)
    assert not scheme.orthogonal


@pytest.mark.parametrize(("rows", "columns"), [(90, 40), (40, 90), (40, 40)])
def test_orthogonal_matrices_are_torchs(rows, columns):
    entries = torch.nn.init.orthogonal_(torch.empty(rows, columns, dtype=torch.float64), gain=1.5)
    scheme = schemes.orthogonal(gain=1.5)
    singular = torch.linalg.svdvals(entries)
    assert singular.square().tolist() == pytest.approx([float(scheme.gain_squared)] * min(rows, columns), rel=1e-12)
    assert entries.square().mean().item() == pytest.approx(float(scheme.variance(columns, rows)), rel=1e-12)


@pytest.mark.parametrize("name", ["linear", "relu", "tanh", "selu", "sigmoid", "conv1d", "conv2d", "conv3d"])
def test_the_gains_are_torchs(name):
    scheme = schemes.kaiming_normal(nonlinearity=name)
    assert float(scheme.gain_squared) == pytest.approx(torch.nn.init.calculate_gain(name) ** 2, rel=1e-15)


@pytest.mark.parametrize("a", [0, 0.01, 1, -2, math.sqrt(5)])
def test_the_gain_of_a_leaky_relu_is_torchs(a):
    """The slope may have any sign; sqrt 5 is what torch.nn.Linear uses."""
    expected = torch.nn.init.calculate_gain("leaky_relu", a) ** 2
    assert float(schemes.kaiming_normal(a=a).gain_squared) == pytest.approx(expected, rel=1e-15)


def test_aliases_and_text_mean_the_same_scheme():
    pairs = [("he_normal", schemes.kaiming_normal()), ("glorot_normal(gain=2)", schemes.xavier_normal(2)),
             ("kaiming_normal(0, 'fan_out')", schemes.kaiming_normal(mode="fan_out")),
             ("gaussian(sigma_w=0.5)", schemes.gaussian(0.5)), ("orthogonal(2)", schemes.orthogonal(gain=2))]
    for text, scheme in pairs:
        assert schemes.scheme(text) == scheme
        assert schemes.scheme(scheme) is scheme
