"""The p-value of a comparison is uniform under the truth, and small under a theory that is 3 % off.

Four hundred studies have three binomial standard errors of .033 at level .05 and of .015 at .01: a right p-value
leaves those bands once in 400 runs; the seed is fixed.
"""

import math

import numpy as np
import pytest
from measured import jacobians

from rmt import FussCatalan, compare, mlp, predict, schemes


def study(rng, widths, networks, sigma_w, slope):
    """ln s of networks with Gaussian weights, (networks, 1, n_0); slope of the activation below zero."""
    s = np.linalg.svd(jacobians(rng, widths, networks, sigma_w, slope), compute_uv=False)
    return np.log(s, where=s > 1e-10, out=np.full(s.shape, -np.inf))[:, None, :]


def p_values(widths, activation, sigma_w, studies, networks, seed, theory=None):
    rng = np.random.default_rng(seed)
    prediction = predict(mlp(widths, activation, schemes.gaussian(theory or sigma_w)))
    slope = {"linear": 1.0, "relu": 0.0}[activation]
    found = [compare(prediction, study(rng, widths, networks, sigma_w, slope)) for _ in range(studies)]
    return np.array([agreement.p_value for agreement in found]), [agreement.verdict for agreement in found]


def test_right_laws_are_refused_as_often_as_the_level_says():
    p, verdicts = p_values([100, 100, 100], "linear", 1, 400, 12, seed=12)
    assert verdicts.count("differs") / 400 <= 0.01 + 0.015
    assert abs(np.mean(p < 0.05) - 0.05) < 0.033
    assert 0.4 < np.median(p) < 0.6


def test_relu_networks_too():
    p, _ = p_values([100, 100, 100], "relu", math.sqrt(2), 200, 12, seed=14)
    assert abs(np.mean(p < 0.05) - 0.05) < 0.047
    assert 0.4 < np.median(p) < 0.6


@pytest.mark.parametrize("depth", [1, 2])
def test_weights_three_percent_off_differ_also_where_the_distance_does_not_see_it(depth):
    p, verdicts = p_values([100] * (depth + 1), "linear", 1.03, 60, 12, seed=2, theory=1)
    assert np.mean(p < 0.01) >= 0.95
    assert verdicts.count("differs") >= 57
    if depth == 1:
        values = study(np.random.default_rng(3), [400, 400], 12, 1.03, 1.0)
        assert compare(FussCatalan(1), values).discrepancy < 0.02


def test_without_the_term_a_right_law_is_refused():
    """The twin: forty networks see the 1/N term of the infinite width that a bare law stands for."""
    rng = np.random.default_rng(4)
    bare = [compare(FussCatalan(2), study(rng, [60, 60, 60], 40, 1, 1.0)).p_value for _ in range(20)]
    assert np.median(bare) < 0.01


def test_few_networks_have_no_p_value():
    rng = np.random.default_rng(5)
    prediction = predict(mlp([30, 30], "linear", "gaussian"))
    for networks, scores in ((1, 0), (3, 0), (4, 1), (5, 2), (13, 6), (30, 6)):
        found = compare(prediction, study(rng, [30, 30], networks, 1, 1.0))
        assert found.zscores.shape == (scores,)
        assert (found.p_value is None) == (scores == 0)
    one = compare(prediction, study(rng, [30, 30], 1, 1, 1.0))
    assert one.verdict == "undecided"
    assert "with the 1/N term" in found.table()
    assert "law at infinite width" in compare(FussCatalan(1), study(rng, [30, 30], 4, 1, 1.0)).table()


TEN_CLASSES = [3072, 100, 100, 10]  # a ten-class net: at most ten non-zero values an input


@pytest.mark.parametrize("networks", [4, 11, 20])
def test_ten_values_are_enough_to_refuse_a_wrong_scheme_and_too_few_to_agree(networks):
    """Of five studies of the truth none differs (false alarm .05: p decides at level .01; the seed is fixed)."""
    rng = np.random.default_rng(networks)
    right, *wrong = (predict(mlp(TEN_CLASSES, "relu", init)) for init in (
        "kaiming_normal", "xavier_normal", schemes.gaussian(1), schemes.gaussian(1.5)))
    for _ in range(5):
        ten = study(rng, TEN_CLASSES, networks, math.sqrt(2), 0.0)
        values = np.concatenate([ten, np.full((networks, 1, 3062), -np.inf)], axis=2)
        assert compare(right, values).verdict == "undecided"
        assert all(compare(theory, values).verdict != "agrees" for theory in wrong)
        assert compare(wrong[1], values).verdict == "differs"
