"""What the theory says of a network against what is known exactly, or reached by another road."""

import math
from fractions import Fraction

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import quad

import rmt
from rmt import FussCatalan, MarchenkoPastur, Network, activations, mlp, predict
from rmt.networks.signal import Signal


def law_of(widths, activation, init, **options):
    return predict(mlp(widths, activation, init, **options)).spectrum.squared


# ---- closed forms (THEORY 2) ------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 2, 5, 30])
def test_square_gaussian_layers_have_the_fuss_catalan_law(depth):
    widths = [70] * (depth + 1)
    assert law_of(widths, "linear", "gaussian") == FussCatalan(depth)
    assert law_of(widths, "linear", "xavier_normal") == FussCatalan(depth)
    assert law_of(widths, "linear", "kaiming_normal") == 2**depth * FussCatalan(depth)
    assert law_of(widths, "linear", "gaussian(sigma_w=0.5)") == Fraction(1, 4**depth) * FussCatalan(depth)


def test_one_rectangular_layer_has_the_marchenko_pastur_law():
    """n_1 x n_0 with variance 1/n_0: the law of ratio n_0/n_1, times n_1/n_0 (THEORY 0)."""
    assert law_of([300, 100], "linear", "gaussian") == Fraction(1, 3) * MarchenkoPastur(3)
    assert law_of([100, 300], "linear", "gaussian") == 3 * MarchenkoPastur(Fraction(1, 3))


@pytest.mark.parametrize(("widths", "atoms"), [
    ([600, 400, 800], {0: 1 / 3, 1: 2 / 3}),
    ([400, 800, 400], {0: 0, 1: 0}),  # two random subspaces of half the dimension: no atom
    ([400, 800, 600], {0: 0, 1: 1 / 2}),  # ... of dimensions 400 and 600 in 800: they share 200
    ([800, 400, 800, 200], {0: 3 / 4, 1: 0}),  # shares 200 of 800 with the image, none for certain
    ([50] * 6, {0: 0, 1: 1}),
])
def test_atoms_of_semi_orthogonal_chains(widths, atoms):
    law = law_of(widths, "linear", "orthogonal")
    assert law.atoms == pytest.approx({x: mass for x, mass in atoms.items() if mass}, abs=1e-12)
    assert all(0 <= lo < hi <= 1 + 1e-12 for lo, hi in law.support)


@pytest.mark.parametrize("depth", [1, 3, 30])
@pytest.mark.parametrize(("activation", "init", "variance"), [
    ("linear", "gaussian", 1), ("relu", "kaiming_normal", 2), ("relu", f"orthogonal(gain={math.sqrt(2)!r})", 1),
    ("linear", "orthogonal", 0),
])
def test_mean_one_and_variance_per_layer_at_criticality(depth, activation, init, variance):
    law = law_of([64] * (depth + 1), activation, init)
    assert law.mean() == pytest.approx(1, abs=1e-12)
    assert law.var() == pytest.approx(variance * depth, rel=1e-12, abs=1e-12)


# ---- the signal and the growth of gradients (THEORY 3) ----------------------------------------------------


@pytest.mark.parametrize("slope", [0, 0.3, 1, -1])
@pytest.mark.parametrize("rho", [-1, -0.4, 0, 0.7, 1])
def test_averages_over_two_gaussian_inputs(slope, rho):
    """On the circle u = r (cos t, cos(t - a)), rho = cos a; phi is homogeneous and E r^2 = 2."""
    def phi(u):
        return u if u > 0 else slope * u

    angle, q = math.acos(rho), 1.7
    kinks = [t % (2 * math.pi) for t in (math.pi / 2, -math.pi / 2, angle + math.pi / 2, angle - math.pi / 2)]
    circle = quad(lambda t: phi(math.cos(t)) * phi(math.cos(t - angle)), 0, 2 * math.pi, points=sorted(set(kinks)))[0]
    f = activations.leaky_relu(slope)
    assert f.cross(q, rho) == pytest.approx(q * circle / math.pi, rel=1e-10, abs=1e-10)
    half = quad(lambda t: phi(math.cos(t)), 0, 2 * math.pi, points=[math.pi / 2, 3 * math.pi / 2])[0]
    assert f.mean(q) == pytest.approx(math.sqrt(q / (8 * math.pi)) * half, abs=1e-12)  # E r = sqrt(pi/2)


def test_two_inputs_of_a_relu_network_align_as_one_over_depth_squared():
    """1 - c_l ~ 9 pi^2 / (2 l^2), to relative order ln(l)/l (THEORY 3)."""
    dense, relu = mlp([50, 50]).layers
    signal, depth = Signal((50,), 0.0, 1.0, 0.3, gaussian=True), 20_000
    for _ in range(depth):
        signal = relu.forward(dense.forward(signal))
    assert (1 - signal.correlation) * 2 * depth**2 / (9 * math.pi**2) == pytest.approx(1, abs=0.005)
    assert signal.mean_square == pytest.approx(1, rel=1e-9)


def rows(widths, activation, init, variance=1.0, correlation=0.0, **options):
    return predict(mlp(widths, activation, init, **options), variance, correlation).layers


def test_the_variance_of_the_signal_layer_by_layer():
    he = rows([40, 70, 30], "relu", "kaiming_normal", 1.5, bias_std=0.5)
    assert_allclose([r.variance for r in he], [3.25, 1.625, 3.5, 1.75], rtol=1e-14)
    assert_allclose([r.chi for r in he], [2, 1, 2, 1], rtol=1e-14)
    assert [r.width for r in he] == [70, 70, 30, 30]


def test_a_bias_is_shared_by_two_inputs():
    first, after = rows([40, 40], "relu", "gaussian", 1.0, 0.0, bias_std=1.0)
    assert (first.variance, first.correlation) == (2, 0.5)
    angle = math.acos(0.5)
    arc_cosine = (math.sin(angle) + (math.pi - angle) * math.cos(angle)) / math.pi
    assert after.correlation == pytest.approx(arc_cosine, rel=1e-14)


def test_a_semi_orthogonal_layer_that_widens_lowers_the_variance():
    wide, narrow = (rows([400, n], "linear", "orthogonal(gain=1.5)", 2.0)[0] for n in (800, 100))
    assert wide.variance == pytest.approx(2.25 * 2 / 2, rel=1e-14)
    assert narrow.variance == pytest.approx(2.25 * 2, rel=1e-14)


@pytest.mark.parametrize(("widths", "init", "growth"), [
    ([100, 200], "gaussian", 1), ([200, 100], "gaussian", 1),
    ([100, 200], "xavier_normal", 2 / 3), ([200, 100], "xavier_normal", 4 / 3),
    ([100, 200], "kaiming_normal(mode='fan_out')", 1), ([100, 200, 50], "kaiming_normal(mode='fan_out')", 8),
    ([100, 200], "orthogonal", 1 / 2), ([200, 100], "orthogonal", 1), ([200, 100, 300], "orthogonal", 1 / 3),
])
def test_gradient_growth_is_the_mean_square_of_a_backward_signal(widths, init, growth):
    """|J^T g|^2 / |g|^2: the product of n_(l-1) Var(w_l); (n_0/n_L) times the mean of x."""
    prediction = predict(mlp(widths, "linear", init))
    assert prediction.gradient_growth == pytest.approx(growth, rel=1e-13)
    assert prediction.spectrum.moment(2) * widths[0] / widths[-1] == pytest.approx(growth, rel=1e-13)


# ---- the ends of the scale --------------------------------------------------------------------------------


def test_a_network_without_layers_is_the_identity():
    prediction = predict(Network(5, []))
    assert prediction.spectrum.atoms == {1.0: 1.0}
    assert (prediction.gradient_growth, prediction.condition_number, prediction.layers) == (1, 1, ())
    assert prediction.finite_width.rank.mass_at_zero == 0


def test_an_activation_on_the_input_itself_is_named():
    prediction = predict(Network(40, [rmt.Activation("relu"), rmt.Dense(40)]))
    assert len(prediction.warnings) == 1
    assert "layers[0]" in prediction.warnings[0]


@pytest.mark.parametrize("widths", [[100, 100, 5, 100], [100, 100, 1], [3, 100, 100], [9, 9]])
def test_a_width_under_ten_is_said_to_be_far_from_the_law(widths):
    (said,) = predict(rmt.mlp(widths)).warnings
    assert f"a width of {min(widths)}:" in said
    assert predict(rmt.mlp([10 if n == min(widths) else 100 for n in widths])).warnings == ()


@pytest.mark.parametrize(("activation", "share"), [("linear", 0.2), ("relu", 0.5)])
def test_what_is_said_of_a_bottleneck_is_what_networks_show(activation, share):
    """Of 400 networks; their scatter moves the distance by .01, so half of what is said is five of it away."""
    rng, n, init = np.random.default_rng(0), 3, "kaiming_normal" if activation == "relu" else "lecun_normal"
    logs = np.full((400, 1, 60), -np.inf)
    for row in logs[:, 0]:
        product, x = np.eye(60), rng.normal(size=60)
        for rows, columns in ((60, 60), (n, 60), (60, n)):
            w = rng.normal(size=(rows, columns)) * ((2 if activation == "relu" else 1) / columns) ** 0.5
            product, x = w @ product, w @ x
            if activation == "relu":
                product, x = (x > 0)[:, None] * product, np.maximum(x, 0)
        s = np.linalg.svd(product, compute_uv=False)
        row[: int((s > 1e-12).sum())] = np.log(s[s > 1e-12])
    found = rmt.compare(predict(rmt.mlp([60, 60, n, 60], activation, init)).spectrum, logs).raw_discrepancy
    assert share / (n + 1) / 2 < found < 2 * share / (n + 1)
