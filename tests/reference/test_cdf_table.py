"""The cdf of a law in a table: as the law's, everywhere."""

import numpy as np
import pytest

import rmt
from rmt.laws.cdf_table import WITHIN, tabulated

LAWS = {
    "relu": rmt.predict(rmt.mlp([64] * 6, "relu")).spectrum, "deep": rmt.predict(rmt.mlp([64] * 51, "linear")).spectrum,
    "orthogonal relu": rmt.predict(rmt.mlp([64] * 6, "relu", "orthogonal")).spectrum,
    "tanh": rmt.predict(rmt.mlp([64] * 4, "tanh", "gaussian(1.5)")).spectrum,
    "two bands": (rmt.MultiplicativeBrownian(0.01) * rmt.Bernoulli(0.9) * rmt.Bernoulli(0.8)).spectrum,
    "narrow": (rmt.MarchenkoPastur(1e-6) * rmt.Discrete([1, 1e6], [0.3, 0.7])).spectrum,
    "atoms": rmt.Empirical([1.0, 2.0, 2.0]).spectrum, "an atom": rmt.PointMass(2).spectrum,
    "a root at both ends": (rmt.Bernoulli(0.5) * rmt.Bernoulli(0.5)).spectrum,
    "a root at one end": rmt.SquaredSlope("tanh", 0.5).spectrum,
    "atoms and a band": (rmt.Bernoulli(0.9) * rmt.Bernoulli(0.8)).spectrum,
}


@pytest.mark.parametrize("name", LAWS)
def test_it_is_the_cdf_of_the_law(name):
    law = LAWS[name].log
    table = tabulated(law)
    low, high = (table.bands[0, 0], table.bands[-1, 1]) if table.places.size else (-1, 2)
    t = np.r_[np.random.default_rng(0).uniform(low - 1, high + 1, 2000), law.ppf(np.linspace(0.001, 0.999, 200)),
              low + 10.0 ** np.arange(-9, 0), high - 10.0 ** np.arange(-9, 0)]
    for place in law.atoms:
        t = np.r_[t, place, place - 1e-6, place + 1e-6]
    assert np.max(np.abs(table.cdf(t) - law.cdf(t))) < 3 * WITHIN
    assert np.all(np.diff(table.cdf(np.sort(t))) >= 0)
    assert table.places.size < 1000
