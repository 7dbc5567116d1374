"""Convolutions, residual blocks and norms against built and measured networks.

A table as in `test_chains_meet_simulation`: the sup distance of a few networks from their law is what a finite width
leaves, and a theory with weights 3 % off a layer (in a residual block: a stream 3 % off) is further away.
"""

import math

import numpy as np
import pytest

import empirical
from empirical.inputs import digits
from rmt import (
    Activation,
    BatchNorm,
    Conv2d,
    Dense,
    Flatten,
    LayerNorm,
    Network,
    Residual,
    RMSNorm,
    Scale,
    compare,
    predict,
    schemes,
)
from rmt.networks import zoo

OFF = math.log(1.03)
CIRCULAR = {"padding_mode": "circular"}
N = 240


def repeated(times, *layers, shape=N):
    return Network(shape, layers * times)


# network, draws, bound on the sup distance, steps of 3 % by which the wrong theory is off
NETWORKS = {
    "conv tanh": (repeated(4, Conv2d(28, 3, init="gaussian(1.2)", **CIRCULAR), Activation("tanh"), shape=(28, 5, 5)),
                  2, 0.02, 4),
    "conv gelu, groups, rectangular kernel, head": (
        Network((24, 5, 5), [Conv2d(48, (1, 3), groups=2, init="gaussian(1.5)", **CIRCULAR), Activation("gelu"),
                             Conv2d(32, 5, init="lecun_normal", **CIRCULAR), Activation("tanh"), Flatten(),
                             Dense(500)]),
        2, 0.02, 3),
    "conv orthogonal": (repeated(3, Conv2d(28, 3, init="orthogonal", **CIRCULAR), Activation("elu"), shape=(28, 5, 5)),
                        2, 0.02, 3),
    "residual relu, weights first": (repeated(8, Residual([Dense(N), Activation("relu")], 0.3)), 4, 0.012, 4),
    "residual relu, weights at both ends": (repeated(8, Residual([Dense(N), Activation("relu"), Dense(N)], 0.3)), 4,
                                            0.012, 4),
    "one block that begins with an activation": (
        Network(N, [Dense(N), Residual([Activation("relu"), Dense(N)]), Dense(N)]), 4, 0.012, 3),
    "residual orthogonal, shortcut, nested": (
        Network(N, [Dense(300, "orthogonal"), Activation("tanh"),
                    Residual([Dense(200, "orthogonal"), Residual([Dense(200), Activation("tanh"), Dense(200)], 0.5),
                              Dense(300)], 0.8, [Scale(0.7)]), Dense(N, "lecun_normal")]), 4, 0.012, 3),
    "batch norm leaky relu": (repeated(6, Dense(N), BatchNorm(), Activation("leaky_relu(0.3)")), 4, 0.02, 6),
    "batch norm tanh": (repeated(6, Dense(N, "orthogonal"), BatchNorm(0.8), Activation("tanh")), 4, 0.02, 6),
    "layer norm": (repeated(4, Dense(N), LayerNorm(), Activation("tanh")), 4, 0.02, 4),
    "RMS norm behind the activation": (repeated(4, Dense(N), Activation("silu"), RMSNorm()), 4, 0.02, 4),
    **{f"{norm} norm, {depth} blocks": (zoo.residual_mlp(depth, N, norm=norm), 4, 0.015, 2 + depth // 8)
       for norm, depth in (("batch", 2), ("batch", 32), ("layer", 8))},
    "transformer's": (zoo.residual_mlp(4, N, "gelu", "lecun_normal", "rms", "1/sqrt(L)", inputs=200), 4, 0.015, 2),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_follows_its_law(name):
    network, draws, bound, steps = NETWORKS[name]
    law = predict(network).spectrum
    values = empirical.measure(network, draws=draws, seed=29, progress=False).log_singular_values
    found = compare(law, values).discrepancy
    assert found < bound
    farther = [compare(law, values + sign * steps * OFF).discrepancy for sign in (1, -1)]
    assert max(farther) > 1.4 * found


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["batch", "layer"])
@pytest.mark.parametrize("depth", [2, 8, 32])
def test_residual_networks_with_norms(norm, depth):
    """Issue 8: within .015."""
    network = zoo.residual_mlp(depth, 400, norm=norm)
    assert compare(predict(network), empirical.measure(network, draws=4, seed=7, progress=False)).discrepancy < 0.015


@pytest.mark.slow
def test_the_held_out_numbers():
    """Issue 8: conv tanh of 48 channels on 6 x 6: .012; BatchNorm ReLU: .03, and .006 above 5 % of the top."""
    conv = repeated(4, Conv2d(48, 3, init=schemes.gaussian(1.2), **CIRCULAR), Activation("tanh"), shape=(48, 6, 6))
    assert compare(predict(conv), empirical.measure(conv, draws=2, seed=5, progress=False)).discrepancy < 0.012
    wide = repeated(6, Dense(800), BatchNorm(), Activation("relu"), shape=800)
    law, found = predict(wide).spectrum, empirical.measure(wide, draws=6, seed=5, progress=False).log_singular_values
    assert compare(law, found).discrepancy < 0.06  # given s > 0: the rank of six ReLU layers
    s = np.sort(np.exp(found).ravel())
    cdf = (np.searchsorted(s, s, side="left") + 0.5) / s.size
    large = s > 0.05 * law.support[-1][1]
    assert np.max(np.abs(law.cdf(s) - cdf)[s > 0]) < 0.03
    assert np.max(np.abs(law.cdf(s) - cdf)[large]) < 0.006


def test_a_hundred_digits_through_batch_norm():
    """Inputs that share a common part (cosine .48) raise the scale: each layer divides by sqrt(q (1 - rho)).

    The images differ in about 13 directions, so that a channel's variance over them scatters by .4 (the warning of
    `predict` says so): the law, which takes its mean, stays .03 to .08 away at width 400; without rho it is .2 away.
    """
    network = Network(64, [layer for _ in range(3) for layer in (Dense(128), BatchNorm(), Activation("tanh"))])
    values = empirical.measure(network, draws=8, inputs=digits(), seed=5, progress=False)
    law = predict(network, input_correlation=digits().correlation)
    assert compare(law, values).discrepancy < 0.05
    assert compare(predict(network), values).discrepancy > 0.1
    assert any("BatchNorm: a channel's variance" in warning for warning in law.warnings)


def test_slopes_that_share_a_stream_are_not_free_and_predict_says_so():
    network = zoo.resnet(8, N, norm="none", scale=0.3)
    law = predict(network)
    assert any("begin with an activation see one stream" in warning for warning in law.warnings)
    values = empirical.measure(network, draws=4, seed=5, progress=False)
    assert 0.015 < compare(law, values).discrepancy < 0.05
    for fine in (zoo.residual_mlp(8, N), zoo.resnet(1, N), Network(N, [Dense(N), Activation("relu"), Dense(N)])):
        assert not any("one stream" in warning for warning in predict(fine).warnings)


@pytest.mark.parametrize("make", [zoo.fixup, zoo.skipinit])
def test_networks_that_begin_at_the_identity(make):
    network = make(5, 30)
    assert predict(network).spectrum.atoms == {1.0: 1}
    assert np.allclose(empirical.measure(network, draws=1, progress=False).log_singular_values, 0, atol=1e-12)
    behind = make(5, 30, inputs=20)
    assert predict(behind).spectrum.squared.mean() == pytest.approx(1.5)
