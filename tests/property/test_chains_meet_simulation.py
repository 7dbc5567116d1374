"""Chains of every activation and scheme against built and measured networks, and against another transform.

A table of chains: the sup distance of some networks from their law is what a finite width leaves (.002 to .02), and a
theory with weights 3 % off a layer is further away. Random chains: E |J u|^2 over the law's, from 64 networks, is
within five standard errors and 3/n (a bias at width n) of 1: a right theory is refused once in 200000 examples
(Student's t, 63 degrees of freedom), so once in 30000 runs of six; the seed is fixed. Weights 3 % off must fail.
"""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from scipy import special

import empirical
from rmt import Activation, Dense, Dropout, Network, Scale, activations, compare, mlp, predict, schemes
from rmt.laws.convolution import ChainLaw
from rmt.laws.discrete_psi import DiscretePsi
from rmt.laws.master_curve import MasterCurve
from rmt.laws.smooth_psi import SmoothPsi

OFF = math.log(1.03)


def mixed(*layers):
    return Network(layers[0], layers[1:])


# network, draws, the sup distance that finite size leaves
CHAINS = (
    (mlp([320] * 9, "tanh", schemes.gaussian(1.4), bias_std=0.25), 4, 0.012),
    (mlp([220] * 21, "tanh", schemes.xavier_normal(gain=5 / 3)), 5, 0.018),
    (mlp([150] * 51, "tanh", schemes.uniform(sigma_w=1.15), bias_std=0.1), 5, 0.015),
    (mlp([300, 400, 500, 350], "hardtanh", schemes.uniform(1.2)), 5, 0.026),
    (mlp([300, 450, 600, 400], "gelu", schemes.orthogonal(1.4)), 5, 0.02),
    (mlp([500] * 6, "tanh", schemes.orthogonal(1.1)), 3, 0.02),
    (mlp([800] * 4, "relu", schemes.kaiming_normal()), 3, 0.04),
    (mlp([300] * 11, "leaky_relu(0.3)", schemes.kaiming_uniform(a=0.3)), 4, 0.012),
    (mlp([250] * 7, "silu", schemes.gaussian(1.6)), 5, 0.02),
    (mlp([160] * 13, "erf", schemes.gaussian(1.1), bias_std=0.1), 5, 0.02),
    (mlp([350, 300, 350, 400], "elu", schemes.lecun_normal()), 4, 0.012),
    (mlp([300] * 5, "softplus", schemes.gaussian(1.3), bias_std=0.5), 5, 0.02),
    (mlp([300] * 5, "selu", schemes.trunc_normal(std=0.06)), 4, 0.012),
    (mlp([300] * 4, "sigmoid", schemes.gaussian(3.0)), 4, 0.015),
    (mlp([200, 400, 300], "linear", schemes.xavier_uniform()), 6, 0.012),
    (mixed(300, Dense(400, schemes.orthogonal(1.2)), Activation("tanh"), Scale(-1.5), Dense(350, "lecun_normal"),
           Activation("leaky_relu(0.2)"), Dense(300, schemes.gaussian(1.3), bias_std=0.2), Activation("gelu")),
     5, 0.02),
)


@pytest.mark.parametrize(("network", "draws", "bound"), CHAINS, ids=lambda value: str(value)[:40])
def test_a_chain_follows_its_law(network, draws, bound):
    law = predict(network).spectrum
    values = empirical.measure(network, draws=draws, seed=23, progress=False).log_singular_values
    found = compare(law, values).discrepancy
    assert found < bound
    depth = sum(layer.mixes for layer in network.layers)
    farther = [compare(law, values + sign * depth * OFF).discrepancy for sign in (1, -1)]
    assert max(farther) > 1.4 * found


@pytest.mark.parametrize("name", ["tanh", "gelu", "softplus", "selu"])
@pytest.mark.parametrize("q", [0.1, 0.9])
def test_the_law_by_another_transform(name, q):
    """The slopes as 3000 values of equal mass: another psi, the same solver of products; cdf to 5e-4."""
    phi = activations.activation(name)
    gaussian = MasterCurve(Fraction(2), ((Fraction(1), Fraction(1)),))
    half = MasterCurve(Fraction(1, 2), ((Fraction(3, 2), Fraction(1)),))

    def chain(psi):
        slopes = MasterCurve(slopes=((psi, Fraction(1), Fraction(1)),))
        return ChainLaw(gaussian * half * slopes)

    u = math.sqrt(q) * special.ndtri((np.arange(3000) + 0.5) / 3000)
    values, counts = np.unique(phi.slope(u) ** 2, return_counts=True)
    other = DiscretePsi(tuple(map(Fraction, values.tolist())), tuple(Fraction(int(n), 3000) for n in counts))
    law, rough = chain(SmoothPsi(phi, q)), chain(other)
    t = np.log(law.ppf(np.linspace(0.02, 0.98, 25)))
    v, y = rough.curve.solve(t.astype(complex))
    assert np.max(np.abs(law.sf(np.exp(t)) - rough.curve.tails(v, y)[1])) < 5e-4


WIDTHS = st.integers(110, 180)
LAYER = st.tuples(WIDTHS, st.sampled_from(["tanh", "erf", "gelu", "silu", "elu", "selu", "sigmoid", "softplus",
                                           "leaky_relu(0.3)", "linear"]),
                  st.sampled_from(["lecun_normal", "xavier_uniform", "orthogonal", "gaussian(1.5)", "uniform(0.8)"]),
                  st.sampled_from([0.0, 0.3]))


@settings(max_examples=6, deadline=None, derandomize=True, database=None, phases=[Phase.explicit, Phase.generate])
@given(WIDTHS, st.lists(LAYER, min_size=3, max_size=5), st.sampled_from([0.3, 1.0, 2.5]))
def test_random_chains(width, layers, variance):
    network = Network(width, [part for n, name, init, bias in layers
                              for part in (Dense(n, init, bias), Activation(name))])
    law = predict(network, input_variance=variance).spectrum
    values = empirical.measure(network, draws=64, seed=5, inputs=empirical.inputs.gaussian(variance),
                               progress=False).log_singular_values
    ratio = np.exp(2 * values).mean(axis=(1, 2)) / law.squared.mean()
    allowed = 5 * ratio.std(ddof=1) / math.sqrt(64) + 3 / min(width, *(n for n, *_ in layers))
    assert abs(ratio.mean() - 1) < allowed
    for sign in (1, -1):
        assert abs(math.exp(sign * 2 * len(layers) * OFF) * ratio.mean() - 1) > allowed
    assert law.log.cdf(values[values > -np.inf]).mean() == pytest.approx(0.5, abs=0.1)


def test_dropout_in_training_against_simulation():
    """A mask of its own per unit: independent of the ReLU's, so no free product; J from the same forward pass."""
    network = mixed(300, Dense(300, schemes.gaussian(1.4)), Activation("relu"), Scale(1.3), Dropout(0.3),
                    Dense(300, schemes.gaussian(1.4)), Activation("tanh"), Dropout(0.2))
    trained, plain = predict(network, training=True), predict(network)
    rng, values = np.random.default_rng(3), []
    for _ in range(8):
        x, w1, w2 = rng.normal(size=300), *(1.4 / math.sqrt(300) * rng.normal(size=(2, 300, 300)))
        h = w1 @ x
        slopes = 1.3 * (h > 0) * (rng.random(300) < 0.7) / 0.7
        u = w2 @ (slopes * h)
        last = np.cosh(u) ** -2.0 * (rng.random(300) < 0.8) / 0.8
        values.append(np.linalg.svd(last[:, None] * w2 @ (slopes[:, None] * w1), compute_uv=False))
    logs = np.log(np.array(values), where=np.array(values) > 1e-12, out=np.full((8, 300), -np.inf))[:, None, :]
    found = compare(trained, logs)
    assert found.discrepancy < 0.045
    assert trained.spectrum.atoms[0.0] == pytest.approx(1 - 0.35)
    assert abs(found.mass_at_zero[1] - found.mass_at_zero[0]) < 0.02
    assert compare(plain, logs).discrepancy > 0.1
    assert plain.spectrum.atoms[0.0] == 0.5
    assert trained.layers[3].variance == pytest.approx(trained.layers[2].variance / 0.7)
    assert trained.layers[3].correlation == pytest.approx(trained.layers[2].correlation * 0.7)
