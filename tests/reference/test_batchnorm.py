"""Gradient growth through batch normalization: published numbers, and networks in training mode."""

import math

import numpy as np
import pytest

import rmt

torch = pytest.importorskip("torch")
growth = rmt.batchnorm.gradient_growth

RELU = [(4, 3.08406), (8, 1.78819), (16, 1.58995), (32, 1.52195), (128, 1.47968), (math.inf, 1.466942)]


@pytest.mark.parametrize(("batch", "rate"), RELU)
def test_relu_has_the_published_rates(batch, rate):
    """Yang et al. 2019 (THEORY 5), to the digits there; the limit is pi/(pi - 1)."""
    assert growth("relu", batch) == pytest.approx(rate, abs=6e-6)
    assert growth(rmt.activations.relu, math.inf) == pytest.approx(math.pi / (math.pi - 1), rel=1e-14)
    assert growth("relu", 10**7) == pytest.approx(math.pi / (math.pi - 1), rel=1e-6)


def test_other_rates():
    assert growth("linear", 8) == 6 / 5
    assert growth("linear", math.inf) == 1
    assert growth("hardtanh", math.inf) == pytest.approx(1.32289, abs=5e-6)


def measured(layers, width, batch, seed):
    """Mean over layers, half of them before to forget the input, of ln of how the squared gradient grows backwards."""
    torch.manual_seed(seed)
    signals = [torch.randn(batch, width, dtype=torch.float64)]
    for _ in range(2 * layers):
        u = signals[-1] @ (torch.randn(width, width, dtype=torch.float64) / math.sqrt(width))
        normal = (u - u.mean(0)) / u.std(0, correction=0)
        signals.append(torch.relu(normal).requires_grad_())
    out = signals[-1]
    gradients = torch.autograd.grad(out, signals[layers : -1], torch.randn(batch, width, dtype=torch.float64))
    squares = np.log([float((g**2).sum()) for g in gradients])
    return (squares[0] - squares[-1]) / (len(squares) - 1)


@pytest.mark.parametrize("batch", [8, 32])
def test_networks_in_training_mode_grow_at_that_rate(batch):
    """Six networks of 24 layers of 400, the last 12 counted: 5 standard errors and 1 % for the finite width."""
    found = np.array([measured(12, 400, batch, seed) for seed in range(6)])
    error = found.std(ddof=1) / math.sqrt(6)
    assert abs(found.mean() - math.log(growth("relu", batch))) < 5 * error + 0.01
    assert abs(found.mean() - math.log(growth("relu", batch // 2))) > 5 * error + 0.01


@pytest.mark.parametrize(("arguments", "error", "word"), [
    (("relu", 3), ValueError, "batch must be a whole number >= 4"), (("relu", 8.5), TypeError, "batch"),
    (("hardtanh", 8), ValueError, "math.inf for hardtanh"), (("rleu", 8), ValueError, "did you mean 'relu'"),
])
def test_what_is_refused(arguments, error, word):
    with pytest.raises(error, match=word):
        growth(*arguments)
