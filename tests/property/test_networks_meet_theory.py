"""Drawn networks (weights, activation, biases, widths, depth) against what the theory says of them at their width.

Hotelling's p-value of sixty networks: a right theory is refused (p < 1e-6) once in 1e6 examples, and the mass at zero
leaves its range once in 1e5; 24 examples, so once in 3000 runs; the seed is fixed. The twin, weights a tenth
larger a layer, or for the zeros one active unit in five fewer, must be refused every time.
"""

import math

import numpy as np
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st
from measured import jacobians

from rmt import activations, compare, mlp, predict
from rmt.finite import log_norm

NETWORKS, WIDTHS = 60, st.integers(24, 60)  # 3 sqrt(60) < 24: the p-value is for these
RUN = settings(max_examples=24, deadline=None, derandomize=True, database=None,
               phases=[Phase.explicit, Phase.generate])


def simulated(rng, widths, slope, bias_std, orthogonal, draws=NETWORKS):
    s = np.linalg.svd(jacobians(rng, widths, draws, 1.0, slope, bias_std, orthogonal), compute_uv=False)
    logs = np.log(s, where=s > 1e-12 * s.max(), out=np.full(s.shape, -np.inf))
    return np.pad(logs, ((0, 0), (0, widths[0] - s.shape[1])), constant_values=-np.inf)[:, None, :]


@RUN
@given(st.lists(WIDTHS, min_size=2, max_size=7), st.sampled_from(["linear", "relu", "leaky_relu(0.2)"]),
       st.sampled_from(["gaussian", "orthogonal"]), st.sampled_from([0.0, 0.5]), st.integers(0, 99))
def test_drawn_networks_are_what_is_predicted_and_not_what_is_not(widths, activation, init, bias_std, seed):
    orthogonal, slope = init == "orthogonal", float(activations.activation(activation).a)
    prediction = predict(mlp(widths, activation, init, bias_std))
    assume(prediction.spectrum.log.support)  # else all values are 0 or one other
    values = simulated(np.random.default_rng(seed), widths, slope, bias_std, orthogonal)
    found = compare(prediction, values)
    assert found.decisive
    assert found.p_value > 1e-6
    low, high = prediction.finite_width.rank.mass_range(NETWORKS, 1 - 1e-5)
    assert low - 1e-9 <= found.mass_at_zero[1] <= high + 1e-9
    larger = compare(prediction, values - (len(widths) - 1) * math.log(1.1))  # as a theory of larger weights sees them
    assert larger.p_value is None or larger.p_value < 1e-6
    assert larger.verdict == "differs"
    if slope == 0:
        assert not low <= 1 - (1 - found.mass_at_zero[1]) * 4 / 5 <= high


@RUN
@given(st.lists(st.integers(1, 40), min_size=2, max_size=6), st.integers(0, 99))
def test_the_norm_of_a_vector_is_what_is_predicted(widths, seed):
    """Mean and variance of ln |J u|^2 over 3000 networks, each within 5.5 standard errors (false alarm 4e-8)."""
    jacobian = jacobians(np.random.default_rng(seed), widths, 3000)
    norms, expected = 2 * np.log(np.linalg.norm(jacobian[:, :, 0], axis=1)), log_norm(widths)
    squares = (norms - expected.mean) ** 2
    assert abs(norms.mean() - expected.mean) < 5.5 * norms.std() / math.sqrt(3000)
    assert abs(squares.mean() - expected.variance) < 5.5 * squares.std() / math.sqrt(3000)
    assert abs(norms.mean() - 1.2 * norms.std() - expected.mean) > 5.5 * norms.std() / math.sqrt(3000)
