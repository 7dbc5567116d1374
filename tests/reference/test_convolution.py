"""Convolutions: variances, exact isometries, what a border of zeros leaves, the spread of active units."""

import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

import empirical
import rmt
from empirical.calibration import calibrated
from rmt import Activation, BatchNorm, Conv2d, Dense, Flatten, MarchenkoPastur, Network, Residual, predict
from rmt.networks.convolution import _patches

CIRCULAR = {"padding_mode": "circular"}


def mean_squares(network, draws):
    """Return E |J u|^2 / |u|^2 over directions, of `draws` networks at one Gaussian input each."""
    found = []
    for seed in range(draws):
        rng = torch.Generator().manual_seed(10**6 + seed)
        x = torch.randn(300, *network.input_shape, dtype=torch.float64, generator=rng)
        module = calibrated(empirical.build(network, seed), x[1:])
        found.append(float((empirical.jacobian(module, x[:1]) ** 2).sum()) / network.n_inputs)
    return np.array(found)


@pytest.mark.parametrize(("layer", "mean"), [
    (Conv2d(12, 3, init="gaussian(1.5)", **CIRCULAR), 2.25 * 12 / 8),
    (Conv2d(12, (1, 3), init="kaiming_normal", groups=4, **CIRCULAR), 2 * 12 / 8),
    (Conv2d(12, 3, init="kaiming_uniform(mode='fan_out')", **CIRCULAR), 2.0),
    (Conv2d(12, 3, init="torch_default", **CIRCULAR), 12 / 8 / 3),
    (Conv2d(12, 3, init="xavier_normal", groups=2, **CIRCULAR), 2 * 9 * 6 / (4 * 9 + 12 * 9)),
    (Conv2d(12, 3, init="orthogonal(gain=2)", **CIRCULAR), 4 * 12 / 8),
    (Conv2d(80, (1, 3), init="orthogonal", **CIRCULAR), 3.0),
    (Conv2d(12, 2, 2, 0, init="gaussian(1)"), 12 / 8 / 4),
    (Conv2d(12, 3, init="delta_orthogonal(gain=0.5)"), 0.25),
], ids=str)
def test_the_mean_square_of_the_jacobian(layer, mean):
    """E tr J^T J / n_0 by the law, and by torch's own draws within five standard errors of 24 (false alarm 5e-5)."""
    network = Network((8, 6, 6), [layer])
    assert predict(network).spectrum.squared.mean() == pytest.approx(mean, rel=1e-12)
    q = 3 * float(layer.gain((8, 6, 6))) + layer.bias_variance(layer.fans((8, 6, 6))[0])
    assert predict(network, 3.0).layers[0].variance == pytest.approx(q)
    squares = mean_squares(network, 24)
    error = np.std(squares, ddof=1) / math.sqrt(24) + 1e-9
    assert abs(np.mean(squares) - mean) < 5 * error
    assert abs(np.mean(squares) - 1.03**2 * mean) > 5 * error or error > 0.01 * mean


def test_delta_orthogonal_is_an_exact_isometry():
    """Xiao et al. 2018: any depth, zero padding too; with groups as well."""
    layers = [Conv2d(8, 3, init="delta_orthogonal"), Conv2d(16, (3, 5), init="delta_orthogonal(gain=0.5)"),
              Conv2d(16, 3, groups=4, init="delta_orthogonal")]
    network = Network((4, 5, 5), layers)
    law = predict(network).spectrum
    assert law.atoms == {0.5: 1}
    logs = empirical.measure(network, draws=2, progress=False).log_singular_values
    assert_allclose(logs, math.log(0.5), atol=1e-12)
    assert not any("padding" in warning for warning in predict(network).warnings)


def test_orthogonal_kernels_are_corners_of_orthogonal_matrices():
    """The rows of a kernel are orthonormal over all taps: each frequency sees k times a corner, k^2 x a Jacobi law.

    64 channels, one layer, 16 positions; the law of a Gaussian kernel of the same variance is far off.
    """
    network = Network((64, 4, 4), [Conv2d(64, 3, init="orthogonal", **CIRCULAR)])
    law = predict(network).spectrum.squared
    assert law.mean() == pytest.approx(1)
    assert law.var() == pytest.approx(1 - 1 / 9, rel=1e-12)  # of a corner 1/9 of a Haar matrix
    rng, values = np.random.default_rng(0), []
    for _ in range(4):
        q, r = np.linalg.qr(rng.normal(size=(576, 64)))
        weight = (q * np.sign(np.diag(r))).T.reshape(64, 64, 3, 3)
        frequencies = np.fft.fft2(weight, (4, 4)).transpose(2, 3, 0, 1)
        values.append(np.linalg.svd(frequencies, compute_uv=False).ravel() ** 2)
    values = np.sort(np.ravel(values))
    empirical_cdf = (np.arange(values.size) + 0.5) / values.size
    assert np.max(np.abs(law.cdf(values) - empirical_cdf)) < 0.008
    assert np.max(np.abs(MarchenkoPastur(1).cdf(values) - empirical_cdf)) > 0.02


@pytest.mark.parametrize("mode", ["zeros", "circular"])
@pytest.mark.parametrize("kernel", [(3, 3), (1, 5), (2, 3)])
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_a_patch_is_what_torch_sees(mode, kernel):
    torch.manual_seed(0)
    module = torch.nn.Conv2d(1, 1, kernel, padding="same", padding_mode=mode, bias=False).double()
    torch.nn.init.constant_(module.weight, 1 / math.prod(kernel))
    x = torch.rand(1, 1, 6, 7, dtype=torch.float64)
    high, wide = (_patches(k, n, mode == "circular") for k, n in zip(kernel, (6, 7), strict=True))
    assert_allclose(module(x)[0, 0].detach().numpy(), high @ x[0, 0].numpy() @ wide.T, atol=1e-14)


def border(network):
    (warning,) = [text for text in predict(network).warnings if text.startswith("zero padding")]
    return float(warning.partition("mean of x ")[2].split()[0])


BORDERS = {
    "linear": [Conv2d(16, 3, init="gaussian(1.3)")] * 3,
    "tanh": [layer for _ in range(3) for layer in (Conv2d(16, 3, init="gaussian(1.6)"), Activation("tanh"))],
    "norm": [layer for _ in range(3) for layer in (Conv2d(16, 3), BatchNorm(), Activation("tanh"))],
    "residual": [Residual([Conv2d(16, (1, 3)), Activation("relu"), Conv2d(16, 3)], 0.7)] * 3,
    "head": [Conv2d(16, 3), Conv2d(16, 2, 2, 0), Activation("tanh"), Flatten(), Dense(40, "gaussian(1.1)")],
}


@pytest.mark.parametrize("name", BORDERS)
def test_what_a_border_of_zeros_leaves_of_the_mean(name):
    """The mean of x over that with circular padding, 24 networks each (120 with a head): 4 standard errors + .03."""
    zeros = Network((16, 4, 4), BORDERS[name])
    ratio = border(zeros)

    def turned(layer):
        if isinstance(layer, Conv2d) and layer.padding == "same":
            return Conv2d(layer.channels, layer.kernel_size, init=layer.init, **CIRCULAR)
        return Residual([*map(turned, layer.layers)], layer.scale) if isinstance(layer, Residual) else layer

    circle = Network((16, 4, 4), [*map(turned, zeros.layers)])
    assert not any(text.startswith("zero padding") for text in predict(circle).warnings)
    draws = 24 if name != "head" else 120
    means = [mean_squares(network, draws) for network in (zeros, circle)]
    found, errors = means[0].mean() / means[1].mean(), [m.std(ddof=1) / m.mean() / math.sqrt(draws) for m in means]
    allowed = 4 * found * math.hypot(*errors) + 0.03
    assert abs(found - ratio) < allowed
    assert abs(1 - ratio) > allowed or name == "norm"  # the normalization makes up for it


def test_few_channels_spread_the_share_of_active_units():
    """The warning's standard deviation, after three layers of 16 channels on 4 x 4, against 300 networks.

    Its standard error is 4 %, 1/sqrt(600); three are 12 %, and the mean field is that of many channels: 10 % more.
    """
    layers = [layer for _ in range(3) for layer in (Conv2d(16, 3, **CIRCULAR), Activation("relu"))]
    (warning,) = [text for text in predict(Network((16, 4, 4), layers)).warnings if "16 channels" in text]
    predicted = float(warning.partition("standard deviation of ")[2].split()[0])
    shares = []
    for seed in range(300):
        module = empirical.build(Network((16, 4, 4), layers), seed)
        x = torch.randn(1, 16, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(10**6 + seed))
        with torch.no_grad():
            shares.append(float((module[:5](x) > 0).double().mean()))
    assert np.std(shares) == pytest.approx(predicted, rel=0.22)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_the_mode_of_padding_is_nothing_where_nothing_is_padded(mode):
    """A kernel of 1, or patches side by side; circular ones needed no input larger than the kernel."""
    for options, shape in (({"kernel_size": 1}, (4, 5, 5)), ({"kernel_size": 2, "stride": 2, "padding": 0}, (4, 6, 6)),
                           ({"kernel_size": 1, "padding": 0}, (4, 1, 1))):
        found, plain = (predict(Network(shape, [Conv2d(8, padding_mode=one, **options)])) for one in (mode, "zeros"))
        assert found.spectrum == plain.spectrum
        module = torch.nn.Conv2d(4, 8, options["kernel_size"], options.get("stride", 1), padding_mode=mode)
        assert predict(empirical.describe(module, shape)).condition_number > 1
    with pytest.raises(rmt.networks.layers.UnsupportedStructure, match="repeats entries of the border"):
        predict(Network((4, 5, 5), [Conv2d(8, 3, padding_mode="reflect")]))
    with pytest.raises(ValueError, match="on a circle"):
        Network((4, 2, 2), [Conv2d(8, 3, padding_mode="circular")])
