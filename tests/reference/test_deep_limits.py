"""The norm of one vector, Lyapunov exponents and the 1/N term, against exact numbers and simulation.

A random test fails a right theory once in 1e6 runs by chance (5 standard errors); its twin, a theory that is off by
3 %, fails.
"""

import math

import mpmath
import numpy as np
import pytest
from measured import jacobians
from numpy.testing import assert_allclose
from scipy import stats
from scipy.integrate import quad

import rmt
from rmt import FussCatalan, MarchenkoPastur, mlp, predict
from rmt.finite import PicketFence, corrected, log_condition_number, log_norm, lyapunov_exponents


def products(widths, draws, seed):
    """J of `draws` networks of Gaussian linear layers, entries of variance 1/fan_in."""
    return jacobians(np.random.default_rng(seed), widths, draws)


def errors(samples, expected):
    """Distance of the mean from what is expected, in standard errors."""
    return abs(samples.mean() - expected) / (samples.std(ddof=1) / math.sqrt(samples.size))


# ---- ln |J u|^2 -------------------------------------------------------------------------------------------

@pytest.mark.parametrize("n", [1, 2, 7, 300])
def test_one_linear_layer_is_a_chi_squared_variable(n):
    law, found = stats.chi2(n), log_norm([n, n])
    ends = law.ppf([1e-14, 1 - 1e-14])
    moments = [quad(lambda t, k=k: (t - math.log(n)) ** k * math.exp(t + law.logpdf(math.exp(t))), *np.log(ends),
                    epsabs=1e-13, limit=300)[0] for k in (1, 2)]
    assert found.exact
    assert_allclose([found.mean, found.variance], [moments[0], moments[1] - moments[0] ** 2], atol=1e-9)


def test_linear_layers_add_and_relu_is_hanin_and_nica():
    with mpmath.workdps(30):
        mean = 10 * (mpmath.log(mpmath.mpf(2) / 50) + mpmath.digamma(25))
        variance = 10 * mpmath.polygamma(1, 25)
    linear, relu = log_norm([50] * 11), log_norm([30, 50, 40, 10], second=0.5, fourth=0.5)
    assert_allclose([linear.mean, linear.variance], [float(mean), float(variance)], rtol=1e-13)
    beta = 5 * (1 / 50 + 1 / 40 + 1 / 10)
    assert_allclose([relu.mean, relu.variance], [math.log(1 / 3) - beta / 2, beta], rtol=1e-14)
    assert not relu.exact


@pytest.mark.parametrize("widths", [(5, 3, 7), (1, 1), (4, 20, 2, 9)])
def test_the_norm_of_a_vector_meets_simulation(widths):
    norms = 2 * np.log(np.linalg.norm(products(widths, 20_000, 1)[:, :, 0], axis=1))
    found = log_norm(widths)
    squares = (norms - found.mean) ** 2
    assert errors(norms, found.mean) < 5
    assert errors(squares, found.variance) < 5
    wrong = found.mean + 2 * (len(widths) - 1) * math.log(1.03)
    assert errors(norms, wrong) > 5 or norms.std() > 2  # one value a layer: 3 % is nothing beside its spread


def test_a_prediction_knows_the_norm_of_a_vector():
    widths = [6, 9, 4, 5]
    gaussian = predict(mlp(widths, "linear", rmt.schemes.gaussian(2))).finite_width.log_norm
    expected = log_norm(widths)
    assert gaussian.exact
    assert_allclose([gaussian.mean, gaussian.variance], [expected.mean + 3 * math.log(4), expected.variance])
    relu = predict(mlp([50] * 4, "relu", "kaiming_normal")).finite_width.log_norm
    hanin = log_norm([50] * 4, second=0.5, fourth=0.5)
    assert_allclose([relu.mean, relu.variance], [hanin.mean, hanin.variance], atol=1e-12)
    square = predict(mlp([8, 8], "linear", "orthogonal")).finite_width.log_norm
    assert_allclose([square.mean, square.variance], [0, 0], atol=1e-15)
    beta = stats.beta(3 / 2, 5 / 2)  # the share of a unit vector's square on 3 of 8 axes
    corner = predict(mlp([8, 3], "linear", "orthogonal")).finite_width.log_norm
    moments = [beta.expect(lambda x, k=k: np.log(x) ** k) for k in (1, 2)]
    assert_allclose([corner.mean, corner.variance], [moments[0], moments[1] - moments[0] ** 2], rtol=1e-7)


# ---- Lyapunov exponents -----------------------------------------------------------------------------------

@pytest.mark.parametrize(("width", "field"), [(1, "real"), (1, "complex"), (5, "real"), (400, "complex")])
def test_lyapunov_exponents_are_newmans(width, field):
    with mpmath.workdps(40):
        d = 1 if field == "real" else 2
        half = [mpmath.mpf(d * (width - k)) / 2 for k in range(width)]
        exact = [(mpmath.digamma(h) - mpmath.log(mpmath.mpf(d * width) / 2)) / 2 for h in half]
        spread = [mpmath.sqrt(mpmath.polygamma(1, h) / 4) for h in half]
    found = lyapunov_exponents(width, field)
    assert_allclose(found, [float(mu) for mu in exact], rtol=1e-12, atol=1e-13)
    assert np.all(np.diff(found) < 0)
    fence = PicketFence(9, width, field)
    assert_allclose(fence.mean, 9 * found)
    assert_allclose(fence.std, [3 * float(s) for s in spread], rtol=1e-12)


def test_exponents_meet_simulation():
    """Their sum is that of ln |det|, exactly; the largest is the growth from depth 100 to 200."""
    rng, growth, volume = np.random.default_rng(2), [], []
    for _ in range(400):
        jacobian, scale, at = np.eye(3), 0.0, {}
        total = 0.0
        for layer in range(1, 201):
            w = rng.normal(size=(3, 3)) / math.sqrt(3)
            total += np.linalg.slogdet(w)[1]
            jacobian = w @ jacobian
            size = np.linalg.norm(jacobian, 2)
            jacobian, scale = jacobian / size, scale + math.log(size)
            at[layer] = scale
        growth.append((at[200] - at[100]) / 100)
        volume.append(total / 200)
    exponents = lyapunov_exponents(3)
    assert errors(np.array(growth), exponents[0]) < 5
    assert errors(np.array(volume), exponents.sum()) < 5
    assert errors(np.array(growth), exponents[0] + math.log(1.03)) > 5


def test_far_down_the_picket_fence_is_uniform():
    """Newman: s^(2/L) -> Uniform(0, 1) for L -> inf and then N -> inf."""
    fence = PicketFence(10**9, 2000)
    u = np.linspace(0.05, 0.95, 19)
    assert_allclose(fence.cdf(10**9 * np.log(u) / 2), u, atol=2e-3)
    t = np.linspace(-12, 1, 20001)
    shallow = PicketFence(4, 5)
    assert_allclose(np.trapezoid(shallow.pdf(t), t), shallow.cdf(1) - shallow.cdf(-12), atol=1e-9)


# ---- the 1/N term -----------------------------------------------------------------------------------------

@pytest.mark.parametrize(("depth", "series"), [(1, (0, 1, 6)), (2, (0, 3, 30, 243)), (4, (0, 10, 180, 2630))])
def test_moments_of_the_term_by_three_roads(depth, series):
    law = corrected(3 * FussCatalan(depth), 50)
    for k, term in enumerate(series, 1):
        expected = law.law.moment(k) + 3**k * term / 50
        assert law.moment(k) == pytest.approx(expected, rel=1e-13)
        assert law.expect(lambda x, k=k: x**k) == pytest.approx(expected, rel=1e-10)
    z = 0.005 / law.law.support[0][1]
    assert law.psi(z) == pytest.approx(sum(law.moment(k) * z**k for k in range(1, 15)), rel=1e-12)
    assert law.moment(0) == 1


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_the_cdf_and_the_averages_are_of_one_measure(depth):
    law = corrected(MarchenkoPastur(1) ** depth, 10)
    top = law.law.support[0][1]
    assert_allclose(law.cdf([-1, top, 2 * top]), [0, 1, 1])
    term = quad(lambda t: t * (law.cdf(t**3) - law.law.cdf(t**3)) * 3 * t**2, 0, top ** (1 / 3), epsabs=1e-12,
                limit=400)[0]  # E f = -int f' dF, f' = x^(1/3), x = t^3
    shift = law.expect(lambda x: 0.75 * x ** (4 / 3)) - law.law.expect(lambda x: 0.75 * x ** (4 / 3))
    assert shift == pytest.approx(-term, rel=1e-7)


def test_the_second_moment_needs_the_term():
    """4000 networks of two 40 x 40 layers: within 4.5 standard errors with it, beyond 6 without."""
    jacobian = products((40, 40, 40), 4000, 3)
    gram = jacobian @ jacobian.transpose(0, 2, 1)
    second = np.einsum("nij,nij->n", gram, gram) / 40
    assert errors(second, corrected(FussCatalan(2), 40).moment(2)) < 4.5
    assert errors(second, 3) > 6


def test_the_mean_cdf_needs_the_term():
    values = np.linalg.svd(products((40, 40, 40), 4000, 4), compute_uv=False) ** 2
    law = FussCatalan(2)
    for x in law.ppf([0.14, 0.48, 0.71]):
        share = (values <= x).mean(axis=1)
        assert errors(share, corrected(law, 40).cdf(x)) < 5
        assert errors(share, law.cdf(x)) > 6


# ---- condition numbers ------------------------------------------------------------------------------------

# Means of ln kappa over 8000, 6000, 4000, 3000 products at N = 50 and 800, 300, 250 at N = 200, standard errors in the
# last place: `benchmarks.condition_number.log_condition_numbers`, seeds 100 + L and 200 + L.
SIMULATED = [
    (1, 50, 5.413, 0.013), (4, 50, 13.971, 0.027), (7, 50, 21.995, 0.044), (10, 50, 30.024, 0.063),
    (1, 200, 6.796, 0.037), (5, 200, 20.996, 0.135), (10, 200, 37.904, 0.217),
]


@pytest.mark.parametrize(("depth", "width", "mean", "error"), SIMULATED)
def test_condition_numbers_meet_simulation(depth, width, mean, error):
    found = log_condition_number(depth, width)
    assert abs(found.mean - mean) < (0.15 if width == 50 else 0.3) + error
    assert abs(log_condition_number(depth + 1, width).mean - mean) > 1  # the twin, one layer too many
    assert found.std > 1


def test_deeper_than_the_constants_the_law_goes_on():
    steps = np.diff([log_condition_number(depth, 100).mean for depth in range(8, 14)])
    assert np.all((steps > 2.7) & (steps < 3.4))
    assert log_condition_number(11, 100).std is None


# ---- bad input --------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("call", "message"), [
    (lambda: corrected(FussCatalan(2), 0), "width"),
    (lambda: corrected(MarchenkoPastur(0.5), 10), "FussCatalan"),
    (lambda: corrected(MarchenkoPastur(1) ** 1.5, 10), "FussCatalan"),
    (lambda: corrected("law", 10), "FussCatalan"),
    (lambda: corrected(FussCatalan(2), 10).expect(np.log), "finite at 0"),
    (lambda: log_norm([5]), "widths"),
    (lambda: log_norm([5, 0]), "widths"),
    (lambda: log_norm([5, 5], second=0), "second"),
    (lambda: log_norm([5, 5], second=1, fourth=0.5), "fourth"),
    (lambda: lyapunov_exponents(0), "width"),
    (lambda: lyapunov_exponents(3, "quaternion"), "field"),
    (lambda: PicketFence(0, 3), "depth"),
    (lambda: log_condition_number(0, 3), "depth"),
    (lambda: log_condition_number(2, 1), "width"),
])
def test_bad_input_is_named(call, message):
    with np.errstate(divide="ignore"), pytest.raises((ValueError, TypeError), match=message):
        call()
