"""Places where a solver lost its way: next to atoms and edges, in thin tails, at deep hard edges, over many bands."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import rmt
from rmt import Bernoulli, Discrete, Empirical, FussCatalan, MarchenkoPastur, MultiplicativeBrownian, SquaredSlope
from rmt.laws.finite_law import FiniteLaw
from rmt.laws.logistic import angle_sums, logistic, sigmoid_sums, sigmoids
from rmt.laws.nearest import nearest
from rmt.laws.subordination import Solution
from tests.law_checks import the_sweep_finds_nothing

# each of these raised, was wrong or took a minute
FOUND = (
    # a panel whose last node lies before the edge that a thin tail blurs
    "Discrete((0.0, 3.93, 4.18, 6.3, 14.8), (0.0212, 0.4123, 0.0868, 0.1713, 0.3084)) + SquaredSlope('silu', 8.52e-05)",
    # a hard edge whose power begins far below the top, or far from where a thin law has it
    "(MarchenkoPastur(0.142) * Discrete((0.0, 0.261, 0.115), (0.0664, 0.1359, 0.7977)) * FussCatalan(12)) ** 1.38",
    "SquaredSlope('silu', 893.0) * MultiplicativeBrownian(0.0613)",
    "SquaredSlope('gelu', 342.0) * Discrete((1.0, 1.2), (0.5, 0.5))",
    # a sum as a factor, next to an atom of its terms
    "((SquaredSlope('leaky_relu(0.01)', 1.88e-09) + 4.34) ** 1.37) + Discrete((0.0, 734.0, -145.0), "
    "(0.8207, 0.015, 0.1643))",
    # an atom that a band reaches, a band that ends at one, and slopes that are flat far out
    "(Discrete((0.766, 0.89, 713.0, 528.0), (0.015, 0.005, 0.63, 0.35)) * SquaredSlope('elu', 0.574)) + 0.839",
    "103.0 * SquaredSlope('selu', 0.00821)",
    "SquaredSlope('silu', 157.0) + SquaredSlope('sigmoid', 1.06e-09)",
    "SquaredSlope('silu', 300.0) * Discrete((1.0, 2.0), (0.5, 0.5))",
    "SquaredSlope('silu', 601.0) * Discrete((0.18, 0.00284), (0.9979, 0.0021)) "
    "* Discrete((3.34, 4.06, 72.2, 329.0, 24.6, 122.0), (0.0809, 0.8498, 0.023, 0.0014, 0.0012, 0.0437))",
    "0.00809 * (Discrete((0.0, 12.7), (0.0115, 0.9885)) * SquaredSlope('silu', 106.0))",
    "Bernoulli(0.66) * SquaredSlope('elu', 4.31e-05)",
    # an infinite density at an atom of the sum, where one term's rounding is all of the other
    "(MarchenkoPastur(0.489) * (MarchenkoPastur(84.3) ** 4)) "
    "+ (157.0 * Discrete((-0.0388, 1.51, -0.001, -0.0186, 0.0449), "
    "(0.0245, 0.3653, 0.0022, 0.5682, 0.0398))).compress(0.79)",
    # bands a few floats wide, and one of which half of the mass lies within a float of its end
    "Discrete((8.73e-08, 8.32e-08), (0.001, 0.999)) "
    "+ Discrete((98.8, -145.0, 81.4, -265.0, 222.0), (0.0024, 0.0133, 0.9776, 0.0001, 0.0066))",
    "Bernoulli(0.77) + SquaredSlope('sigmoid', 386.0)",
    "(SquaredSlope('leaky_relu(0.01)', 2.46e-09) ** 20) "
    "+ (0.00169 * Discrete((38.4, 135.0, 31.0, 95.0), (0.0268, 0.0015, 0.9713, 0.0004)))",
    # a dilation, whose top was found by a search
    "4.69 * SquaredSlope('tanh', 6.22e-10)",
    # terms whose g are bounded at scales far apart
    "((MultiplicativeBrownian(0.0543) + 1.0) * Discrete((0.0562, 84.6), (0.13, 0.87))) "
    "+ (1e22 * (MarchenkoPastur(0.2) + 1.0))",
    # next to an atom: mass at one end of a band of two, a density that noise drowns in a narrow band, or to nothing
    "(MarchenkoPastur(120.0) + SquaredSlope('softplus', 122.0)).compress(0.95)",
    "SquaredSlope('elu', 3.26e-12) * Bernoulli(0.52)",
    "0.00264 * (SquaredSlope('elu', 0.000573) + Discrete((0.0, -0.484), (0.125, 0.875)))",
    # a root lost in steps of a third of the angle, and on the negative axis to what a contour leaves of Im psi
    "(MarchenkoPastur(0.000393) + Discrete((0.0, 4.9, 0.466), (0.5167, 0.019, 0.4643))) "
    "* (3.07 * MarchenkoPastur(0.000237))",
    "Discrete((-0.3, 0.2), (0.4, 0.6)) + (SquaredSlope('silu', 14.8) * MarchenkoPastur(0.0326))",
    # two bands of a product of projections
    "(MarchenkoPastur(0.0259) * MultiplicativeBrownian(0.0333)) * (Bernoulli(0.96) * SquaredSlope('hardtanh', 0.0464))",
    # a zero of G, where one omega is infinite; the mass above a point in a gap of a shifted law
    "(SquaredSlope('erf', 105.0) + SquaredSlope('leaky_relu(0.01)', 1.55e-08)) "
    "* (MarchenkoPastur(1600.0) * MarchenkoPastur(0.347)).compress(0.45)",
    "Discrete((56.1, 51.7, 52.8, 54.1), (0.49, 0.035, 0.35, 0.125)) * (1.15 * (Bernoulli(0.002) + PointMass(0.0827)))",
)


@pytest.mark.parametrize("text", FOUND)
def test_what_was_found_by_the_sweep(text):
    the_sweep_finds_nothing(text)


def test_a_step_toward_a_sum_is_quadratic_where_r_is_a_series():
    """Of a narrow term R is a series in G: its omega off by eps, a step must leave eps^2, or narrow bands are lost."""
    law = Discrete((-0.001, 0.002), (0.4, 0.6)) + Empirical(np.linspace(-1, 1, 40))
    solver = law._solver
    z = np.array([0.3 + 1e-3j])
    true = solver.solve(z)
    size = np.abs(true.g * 0.002)
    assert size < 0.01  # R of the narrow term is a series there
    errors = []
    for eps in (1e-3, 1e-4):
        off = true.at * np.array([[1 + eps], [1.0]])
        step = solver.step(z, true.g, off)
        value = np.where(step.large, 1 / true.g, true.g) + step.g
        errors.append(float(np.abs(np.where(step.large, 1 / value, value) / true.g - 1)[0]))
    assert errors[1] < errors[0] / 30


def test_only_a_proved_root_is_taken_on_the_way_down():
    """Beside an edge of a law with many bands a real root is near that is on no branch of the law."""
    law = Discrete((0.0, 0.03), (0.1, 0.9)) + Empirical(np.random.default_rng(3).normal(0, 0.5, 60))
    low, high = law._bands[20]
    z = (high - (high - low) * np.array([1e-6, 1e-5, 1e-4, 1e-3])).astype(complex)
    found = law._solver._followed_down(z)
    assert np.all(found.g.imag < 0)
    assert_allclose(found.g.imag / np.sqrt(high - z.real), found.g.imag[0] / np.sqrt(high - z.real[0]), rtol=0.05)


@pytest.mark.parametrize("law", [
    MarchenkoPastur(0.5), Bernoulli(0.3) * MarchenkoPastur(1) + Discrete((0, 5, 9), (0.2, 0.3, 0.5)), FussCatalan(3)])
def test_averages_are_those_of_every_band(law):
    whole = law.expect(np.cos)
    parts = [law.expect(lambda x, low=low, high=high: np.where((x >= low) & (x <= high), np.cos(x), 0.0))
             for low, high in law.support]
    atoms = sum(mass * np.cos(x) for x, mass in law.atoms.items()
                if not any(low <= x <= high for low, high in law.support))
    assert_allclose(sum(parts) + atoms, whole, atol=1e-9)


def test_averages_over_many_bands():
    values = np.sort(np.random.default_rng(5).normal(0, 1, 60))
    law = Bernoulli(0.003) + Empirical(values)
    assert len(law.support) > 50
    assert_allclose(law.expect(np.ones_like), 1, atol=1e-10)
    assert_allclose(law.expect(lambda x: x**2), law.var() + law.mean() ** 2, rtol=1e-10)


def test_a_hard_edge_is_followed_to_its_power():
    law = SquaredSlope("silu", 893.0)
    bottom = law.curve.log_x_at_bottom
    assert -540 < bottom < -500  # where u is nine deviations off, e^(2 u): its power e^(t/2) begins only there
    product = law * MultiplicativeBrownian(0.0613)
    assert_allclose(product.log.cdf(product.log.ppf([1e-12, 1e-6, 0.3])), [1e-12, 1e-6, 0.3], rtol=1e-9)


def test_a_slope_law_that_ends_at_once_has_nothing_behind():
    """gelu' under every float counts as zero: ln X ends at -1381 with a density, and nothing leaks beyond."""
    law = SquaredSlope("gelu", 342.0) * Discrete((1, 1.2), (0.5, 0.5))
    t = np.array([-1300.0, -1383.0, -1390.0])
    density = np.exp(law._local(t).log_density)
    assert density[0] > 1e-5
    assert np.all(density[1:] < 1e-11)


def test_a_stack_whose_slopes_hold_a_speck():
    """A piece of mass 1e-14 as one value is a plateau of psi that Newton does not leave."""
    prediction = rmt.predict(rmt.mlp([100] * 101, activation="softplus", init="gaussian(sigma_w=3)"))
    log = prediction.spectrum.log
    levels = np.array([0.001, 0.1, 0.5, 0.99])
    assert_allclose(log.cdf(log.ppf(levels)), levels, rtol=1e-7)


def test_next_to_an_atom_the_density_is_that_of_its_band():
    law = Discrete((1, 2), (0.3, 0.7)) * SquaredSlope("elu", 0.5)
    atom = max(x for x in law.atoms if x in dict(law.support).values())
    at = atom * (1 - np.array([1e-12, 1e-10, 1e-8, 1e-6]))
    assert_allclose(law.pdf(at), law.pdf(at[-1]), rtol=1e-3)
    assert_allclose(law.cdf(at) - law.cdf(at[-1]), law.pdf(at[-1]) * (at - at[-1]), atol=1e-9)


@pytest.mark.parametrize("shift", [0.0, 1e-9, 3.0, 400.0])
def test_sums_of_sigmoids_are_those_of_each(shift):
    log_x = np.array([-2.0, 0.0, 1.5, 250.0])
    weights = np.array([0.1, 0.4, 0.3, 0.2])
    y = np.array([1j * np.pi + shift, 1e-12j + shift, shift + 2j, shift + 1e-11 + 1j * np.pi])
    y = y[shift == 0:]  # the first is a pole
    up, rest = sigmoids(y[:, None] + log_x)
    found = sigmoid_sums(y, log_x, np.exp(log_x), weights)
    for ours, true in zip(found, (rest @ weights, up @ weights, (up * rest) @ weights), strict=True):
        assert_allclose(ours, true, rtol=1e-12)
    ahead, behind = angle_sums(y, log_x, np.exp(log_x), weights)
    at = logistic(y[:, None] + log_x)
    assert_allclose(ahead, -(at.log_rest.imag @ weights), rtol=1e-9, atol=1e-14)
    assert_allclose(behind, at.log_s.imag @ weights, rtol=1e-9, atol=1e-14)


def test_a_finite_law_is_looked_at_in_batches(monkeypatch):
    law = Empirical(np.random.default_rng(0).normal(size=50))
    z = np.linspace(-2, 2, 400) + 0.1j
    whole = law._branch(z)
    monkeypatch.setattr("rmt.laws.batches._NUMBERS", 64)
    for part, ours in zip(law._branch(z), whole, strict=True):
        assert_allclose(part, ours, rtol=1e-13)
    assert isinstance(law, FiniteLaw)


def test_the_nearest_of_places_that_are_not_all_finite():
    places = np.array([0.0, 1 + 1j, 5.0, 1e300])
    assert nearest(np.array([0.9 + 0.8j, 4.0, -1.0, np.inf, np.nan]), places).tolist() == [1, 2, 0, 3, 0]


def test_a_solution_is_put_in_place():
    one = Solution(np.zeros(3, complex), np.zeros((2, 3), complex))
    one.put(np.array([1]), Solution(np.ones(1, complex), np.full((2, 1), 2.0 + 0j)))
    assert one.g.tolist() == [0, 1, 0]
    assert one.at[:, 1].tolist() == [2, 2]


def test_beside_an_atom_a_diverging_density_keeps_its_power_to_the_last_float():
    """Next to an atom of a sum there is the hard edge of four matrices of the same rank: d^(-3/4), d from 1e-3 on."""
    law = MarchenkoPastur(3) ** 4 + Discrete((-2.0, 300.0), (0.8, 0.2))
    low = max(band[0] for band in law.support if band[0] < 0)
    d = 10.0 ** -np.arange(3, 15)
    local = law._at(low + d)
    scaled = local.log_density + 0.75 * np.log(d)
    assert low == -2
    assert_allclose(scaled[3:-1], scaled[5], atol=0.03)
    held = local.lower - local.lower[-1]
    assert_allclose(held[3:-2], 4 * np.exp(scaled[5]) * (d**0.25 - d[-1] ** 0.25)[3:-2], rtol=0.03)


def test_real_rows_that_still_move_are_no_root():
    """Inside a band of a sum of sums two rows drifted by 3 a step, far from 0, while y was right to rounding."""
    law = ((SquaredSlope("sigmoid", 4.45e-09) + MarchenkoPastur(27.7))
           * Discrete((0.0889, 1.41, 98.5, 20.8), (0.0735, 0.7665, 0.0006, 0.1594))
           + (26.7 * Discrete((0.0111, 0.00463, 0.00543, 0.00901, 0.00436, 0.00354),
                              (0.26, 0.02, 0.34, 0.095, 0.03, 0.255))).compress(0.98))
    curve, _ = law._joint
    rows = (-0.93628945, 0.66846873, -1603.66951732, -1605.1650963, -0.48821907, -3.29844783, -0.52585911, 2.83321335,
            -0.94861965, 3.94080207)
    z = np.array([0.5124927408353654 + 0j])
    found = curve.cauchy(z, [np.array([row + 1j * np.pi]) for row in rows])
    assert_allclose(found.g, curve.cauchy(z, None).g, rtol=1e-9)
    assert found.g.imag < -0.1


def test_noise_of_a_contour_does_not_pass_for_a_complex_root():
    """Beside a gap, from a state in it, a real solution is complex by the noise of psi over a small slope."""
    law = SquaredSlope("tanh", 0.00321) * Empirical(np.random.default_rng(616).lognormal(0, 0.117, 300))
    t = law._bands[30][1] - np.array([1e-6, 2e-6])
    alone, among = law._at(t), law._local(np.repeat(t, 200))
    assert_allclose(among.lower[[0, -1]], alone.lower, atol=1e-9)
    assert_allclose(among.log_density[[0, -1]], alone.log_density, atol=1e-3)


def test_a_quantile_is_not_found_where_the_cdf_has_no_digits():
    """The lower edge lies at 7e-14, the table of the band begins at 7e-5: Newton passes places with a cdf of 0."""
    law, q = Bernoulli(0.246) + FussCatalan(18), np.array([0.001, 0.01, 0.02, 0.03, 0.05, 0.2])
    x = law.ppf(q)
    assert np.all(np.diff(x) > 0)
    assert_allclose(law.cdf(x[1:]), q[1:], rtol=1e-3)  # x rounds by 1e-15


def test_next_to_an_atom_the_rounding_of_a_parameter_is_no_density():
    """The gap around an atom of .0446 is some 1e-8 wide: on either side the cdf is constant, to the last float."""
    law = Discrete((0.00371, 0.001), (0.2442, 0.7558)).compress(0.774) + SquaredSlope("gelu", 282.0)
    ((place, mass),) = law.atoms.items()
    d = 10.0 ** -np.arange(9, 14.6, 0.5)
    assert mass == pytest.approx(0.04459658584160928, rel=1e-9)
    assert_allclose(law.cdf(place + d), law.cdf(place), rtol=0, atol=1e-8)
    assert_allclose(law.cdf(place - d), law.cdf(place) - mass, rtol=0, atol=1e-8)


def test_a_narrow_band_of_a_power_has_roots_though_the_logarithms_of_g_round_more_than_y():
    """4e-10 of ln x is wide what a squared slope of variance 1.4e-7 smears an atom to."""
    law = (Discrete((6.82, 8.3, 9.61, 9.18, 12.8, 13.7), (0.0449, 0.0044, 0.0051, 0.5018, 0.0008, 0.443))
           + MarchenkoPastur(2.15) + SquaredSlope("sigmoid", 1.38e-07)) ** 1.03
    low, high = law._bands[2]
    assert high - low < 1e-9
    v, _ = law.curve.solve((low + (high - low) * np.linspace(0.6, 0.98, 20)).astype(complex))
    assert np.all(law.curve.log_im_w(v) > 0)


def test_averages_over_many_narrow_bands_need_their_masses():
    """Forty bands, each some 1e-8 of its place wide: no function changes over one by more than that."""
    factor = Empirical(np.random.default_rng(99).lognormal(0, 0.25, 40))
    law = factor * SquaredSlope("erf", 3.5e-9)
    peak = SquaredSlope("erf", 3.5e-9).mean()
    assert len(law.support) == 40
    for f in (np.ones_like, np.log, lambda x: x**2, lambda x: 1.0 * (x < 1.1)):
        assert law.expect(f) == pytest.approx(factor.expect(lambda x, f=f: f(peak * x)), rel=2e-8)
