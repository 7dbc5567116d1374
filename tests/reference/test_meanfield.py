"""Mean field: published numbers, plain iteration of the maps, and wide networks."""

import math

import numpy as np
import pytest

from rmt.networks import activations, meanfield

NAMES = ["linear", "relu", "leaky_relu(0.2)", "elu", "selu", "gelu", "silu", "tanh", "erf", "hardtanh", "sigmoid",
         "softplus"]
SIN = activations.custom("sin", np.sin, np.cos)
B = math.sqrt(0.05)


# ---- THEORY 3 -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "bias", "weight", "variance"), [
    ("tanh", 0.05, 1.760955, 0.570048), ("erf", 0.05, 1.375839, 0.517177), ("gelu", 0.17292239, 1.98305826, None),
    ("silu", 0.55514317, 1.98800468, None), ("relu", 0.0, 2.0, 1.0), ("linear", 0.0, 1.0, 1.0), ("tanh", 0.0, 1.0, 0.0),
    ("erf", 0.0, math.pi / 4, 0.0), ("gelu", 0.0, 4.0, 0.0), ("leaky_relu(0.2)", 0.0, 2 / 1.04, 1.0),
])
def test_critical_points(name, bias, weight, variance):
    point = meanfield.critical_point(name, bias_std=math.sqrt(bias))
    assert point.sigma_w**2 == pytest.approx(weight, abs=6e-7)
    assert variance is None or point.variance == pytest.approx(variance, abs=6e-7)
    assert meanfield.chi(name, variance=point.variance, sigma_w=point.sigma_w) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(("name", "bias"), [("gelu", 0.17292239), ("silu", 0.55514317)])
def test_half_stable_points(name, bias):
    """Roberts, Yaida and Hanin 2022: both slopes are 1. With a smaller bias the critical point repels."""
    p = meanfield.critical_point(name, bias_std=math.sqrt(bias))
    phi, step = activations.activation(name), 1e-4 * p.variance
    growth = p.sigma_w**2 * (phi.cross(p.variance + step, 1.0) - phi.cross(p.variance - step, 1.0)) / (2 * step)
    assert growth == pytest.approx(1, abs=1e-7)
    assert not meanfield.critical_point(name, bias_std=math.sqrt(0.9 * bias)).stable
    assert meanfield.critical_point(name, bias_std=math.sqrt(1.1 * bias)).stable


@pytest.mark.parametrize(("weight", "variance", "chi", "c", "scale"), [
    (1.5, 0.418037, 0.938636, 1.0, 15.791), (2.0, 0.721762, 1.047666, 0.744082, 25.213)])
def test_tanh_off_criticality(weight, variance, chi, c, scale):
    at = {"sigma_w": math.sqrt(weight), "bias_std": B}
    point = meanfield.fixed_point("tanh", **at)
    assert point.variance == pytest.approx(variance, abs=6e-7)
    assert point.stable
    assert meanfield.chi("tanh", variance=point.variance, sigma_w=at["sigma_w"]) == pytest.approx(chi, abs=6e-7)
    assert meanfield.correlation_fixed_point("tanh", **at) == pytest.approx(c, abs=6e-7)
    assert meanfield.depth_scales("tanh", **at).correlation == pytest.approx(scale, rel=2e-5)
    assert meanfield.trainable_depth("tanh", **at) == 6 * meanfield.depth_scales("tanh", **at).correlation


def test_selu_is_a_little_chaotic():
    assert meanfield.fixed_point("selu", sigma_w=1.0).variance == pytest.approx(1, abs=1e-12)
    assert meanfield.chi("selu", variance=1.0, sigma_w=1) == pytest.approx(1.071575, abs=6e-7)


def test_algebraic_approach_at_criticality():
    """tanh: q_l ~ 1/(2 l), towards 0. ReLU: 1 - c_l ~ 9 pi^2/(2 l^2), towards 1."""
    q, layers = 1.0, 4000
    for _ in range(layers):
        q = activations.tanh.cross(q, 1.0)
    assert 2 * layers * q == pytest.approx(1, abs=0.01)
    assert meanfield.fixed_point("tanh", sigma_w=1) == meanfield.FixedPoint(0.0, True)
    assert meanfield.correlation_fixed_point("tanh", sigma_w=1) == 1
    assert meanfield.depth_scales("tanh", sigma_w=1) == meanfield.DepthScales(math.inf, math.inf)
    c = 0.0
    for _ in range(layers):
        c = 2 * activations.relu.cross(1.0, c)
    assert (1 - c) * layers**2 * 2 / (9 * math.pi**2) == pytest.approx(1, abs=0.02)
    he = math.sqrt(2)
    assert meanfield.fixed_point("relu", sigma_w=he) == meanfield.FixedPoint(1.0, False)
    assert meanfield.correlation_fixed_point("relu", sigma_w=he) == 1
    assert meanfield.trainable_depth("relu", sigma_w=he) == math.inf


@pytest.mark.parametrize(("name", "power", "limit"), [("tanh", 1, 5.0789), ("hardtanh", 2, 108.29)])
def test_correlation_near_criticality(name, power, limit):
    """1 - c* is linear in what sigma_w is above criticality; where phi has kinks, quadratic."""
    sigma_w = meanfield.critical_point(name, bias_std=0.2).sigma_w
    for above in (1e-5, 1e-6):
        c = meanfield.correlation_fixed_point(name, sigma_w=sigma_w * (1 + above), bias_std=0.2)
        assert (1 - c) / above**power == pytest.approx(limit, rel=1e-3)


# ---- against plain iteration ----------------------------------------------------------------------------


def iterated(phi, weight, bias, layers=400):
    q = np.ones(weight.size)
    for _ in range(layers):
        before, q = q, np.minimum(weight * phi.cross(q, 1.0) + bias, 1e30)
    return q, (np.abs(q - before) < 1e-13 * q) & (q < 1e9)  # the second: whether it has settled


@pytest.mark.parametrize("name", [*NAMES, SIN], ids=str)
def test_variance_by_iteration(name):
    """Grown beyond 1e9 and still growing: no fixed point. GELU and SiLU have several at some of these."""
    phi = activations.activation(name)
    axes = np.array([0.5, 0.9, 1.15, 1.42, 1.6, 3.0]), np.array([0.0, 0.3, 1.0])
    bias, weight = (x.ravel() ** 2 for x in np.meshgrid(axes[1], axes[0], indexing="ij"))
    q, settled = iterated(phi, weight, bias)
    found = meanfield.phase_diagram(name, *axes).variance.ravel()
    settled |= (q < 1e-9) & (found == 0)
    assert settled.sum() >= 6
    assert found[settled] == pytest.approx(q[settled], rel=1e-9, abs=1e-9)
    assert np.all(np.isinf(found[q > 1e9]))
    for w, b, x in zip(weight[settled], bias[settled], found[settled], strict=True):
        if (name, w) == ("linear", 1):
            continue
        points = meanfield.fixed_points(name, sigma_w=math.sqrt(w), bias_std=math.sqrt(b))
        assert min(abs(p.variance - x) for p in points) <= 1e-9 * max(x, 1)
        for p in points:
            assert w * phi.cross(p.variance, 1.0) + b == pytest.approx(p.variance, rel=1e-9)
        kinds = [p.stable for p in points]  # of simple roots of a growing map they alternate
        assert all(a != b for a, b in zip(kinds[1:], kinds[:-1], strict=True))


@pytest.mark.parametrize(("name", "sigma_w", "bias_std", "number"), [
    ("gelu", 1.41, 0.38, 1), ("gelu", 1.4088, math.sqrt(0.17), 3), ("gelu", 1.45, 0.3, 2), ("gelu", 1.5, 0.5, 0),
    ("silu", 1.4102337445846749, math.sqrt(0.55), 3), ("selu", 1.0, 0.0, 2), ("relu", 1.0, 0.5, 1)])
def test_all_fixed_points(name, sigma_w, bias_std, number):
    points = meanfield.fixed_points(name, sigma_w=sigma_w, bias_std=bias_std)
    assert len(points) == number
    phi = activations.activation(name)
    q = np.exp(np.linspace(math.log(1e-3), math.log(1e5), 100_001))
    gap = sigma_w**2 * phi.cross(q[::20], 1.0) + bias_std**2 - q[::20]
    crossings = q[::20][np.flatnonzero(np.diff(np.sign(gap)))]
    assert [p.variance for p in points if p.variance] == pytest.approx(list(crossings), rel=5e-3)


@pytest.mark.parametrize(("name", "sigma_w", "bias_std"), [
    ("tanh", 1.6, 0.3), ("tanh", 8.0, 0.1), ("erf", 1.5, 0.5), ("hardtanh", 1.2, 0.3), ("selu", 1.0, 0.0),
    ("selu", 1.2, 0.5), ("elu", 1.3, 0.2), ("sigmoid", 14.0, 0.2), (SIN, 1.8, 0.3), (SIN, 5.0, 0.3),
    ("hardtanh", 1.03, 0.1)])
def test_chaotic_correlation(name, sigma_w, bias_std):
    """c* is a fixed point of the map by quadrature, and attracts; that of a convex map is then the only one below 1."""
    phi, at = activations.activation(name), {"sigma_w": sigma_w, "bias_std": bias_std}
    q, c = meanfield.fixed_point(phi, **at).variance, meanfield.correlation_fixed_point(phi, **at)
    slope = sigma_w**2 * phi.slope_cross(q, c)
    assert meanfield.chi(phi, variance=q, sigma_w=sigma_w) > 1 > slope
    assert 0 <= c < 1
    assert abs((sigma_w**2 * phi.cross(q, c) + bias_std**2) / q - c) < 1e-12 * (1 - slope) + 1e-14
    assert meanfield.depth_scales(phi, **at).correlation == pytest.approx(-1 / math.log(slope), rel=1e-9)


@pytest.mark.parametrize(("name", "sigma_w", "bias_std"), [("tanh", 1.8, 0.4), ("tanh", 0.9, 0.3), ("relu", 1.2, 0.3)])
def test_correlation_by_iteration_and_its_depth_scale(name, sigma_w, bias_std):
    phi, at = activations.activation(name), {"sigma_w": sigma_w, "bias_std": bias_std}
    q, c, path = meanfield.fixed_point(phi, **at).variance, 0.3, []
    for _ in range(80):
        c = (sigma_w**2 * phi.cross(q, c) + bias_std**2) / q
        path.append(c)
    limit, scale = meanfield.correlation_fixed_point(phi, **at), meanfield.depth_scales(phi, **at).correlation
    assert abs(path[-1] - limit) < max(1e-10, math.exp(-75 / scale))
    if name == "tanh":
        assert (path[25] - limit) / (path[26] - limit) == pytest.approx(math.exp(1 / scale), rel=5e-3)


@pytest.mark.parametrize(("name", "sigma_w", "bias_std"), [("tanh", 1.4, 0.3), ("gelu", 1.3, 0.4), ("selu", 1.0, 0.1)])
def test_depth_scale_of_the_variance(name, sigma_w, bias_std):
    """xi_q against the decay of a departure, and against chi + sigma_w^2 E phi'' phi by differences."""
    phi, at = activations.activation(name), {"sigma_w": sigma_w, "bias_std": bias_std}
    q, scale = meanfield.fixed_point(phi, **at).variance, meanfield.depth_scales(phi, **at).variance
    step = 1e-6 * q
    after = sigma_w**2 * phi.cross(q + step, 1.0) + bias_std**2 - q
    assert after / step == pytest.approx(math.exp(-1 / scale), rel=1e-5)
    z, weight = np.polynomial.hermite_e.hermegauss(120)
    u, h = math.sqrt(q) * z, 1e-4
    if name != "selu":  # its slope jumps
        bend = (phi.slope(u + h) - phi.slope(u - h)) / (2 * h)
        total = meanfield.chi(phi, variance=q, sigma_w=sigma_w) + sigma_w**2 * float(
            weight @ (bend * phi.value(u))) / math.sqrt(2 * math.pi)
        assert total == pytest.approx(math.exp(-1 / scale), rel=1e-6)


def test_odd_functions_without_bias_decorrelate():
    for name in ("tanh", "erf", "hardtanh", SIN):
        assert meanfield.correlation_fixed_point(name, sigma_w=1.7) == 0


# ---- against networks, and against itself ----------------------------------------------------------------


@pytest.mark.parametrize(("name", "sigma_w", "bias_std"), [("tanh", 2.0, 0.3), ("hardtanh", 2.0, 0.4), (SIN, 2.0, 0.4)])
def test_wide_networks(name, sigma_w, bias_std):
    """Twelve networks of width 400, 25 layers deep: 4 standard errors, and 3/width for the finite width."""
    phi, width, found = activations.activation(name), 400, []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        u = rng.normal(size=(width, 2))
        for _ in range(25):
            weights = rng.normal(size=(width, width)) * (sigma_w / math.sqrt(width))
            u = weights @ phi.value(u) + bias_std * rng.normal(size=(width, 1))
        found.append([np.mean(u**2), np.mean(u[:, 0] * u[:, 1])])
    q = meanfield.fixed_point(name, sigma_w=sigma_w, bias_std=bias_std).variance
    c = meanfield.correlation_fixed_point(name, sigma_w=sigma_w, bias_std=bias_std)
    error = np.std(found, axis=0, ddof=1) / math.sqrt(12)
    assert np.all(np.abs(np.mean(found, axis=0) - [q, q * c]) < 4 * error + 3 * q / width)


@pytest.mark.parametrize("name", ["tanh", "hardtanh", "selu", "gelu", "relu", SIN], ids=str)
def test_phase_diagram_is_the_scalar_functions(name):
    sigma_w, bias_std = [0.6, 1.0, 1.3, 1.6, 2.5], [0.0, 0.2, 0.7]
    diagram = meanfield.phase_diagram(name, sigma_w, bias_std)
    assert diagram.variance.shape == diagram.chi.shape == diagram.correlation.shape == diagram.region.shape == (3, 5)
    for i, b in enumerate(bias_std):
        for j, w in enumerate(sigma_w):
            region = diagram.region[i, j]
            try:
                q = meanfield.fixed_point(name, sigma_w=w, bias_std=b).variance
            except meanfield.NoFixedPoint:
                assert (region, diagram.variance[i, j], diagram.correlation[i, j]) == ("unbounded", math.inf, 1)
                assert diagram.chi[i, j] == pytest.approx(meanfield.chi(name, variance=1e24, sigma_w=w), rel=1e-9)
                continue
            chi = meanfield.chi(name, variance=q, sigma_w=w)
            assert diagram.variance[i, j] == pytest.approx(q, rel=1e-12)
            assert diagram.chi[i, j] == pytest.approx(chi, rel=1e-12)
            c = meanfield.correlation_fixed_point(name, sigma_w=w, bias_std=b)
            assert diagram.correlation[i, j] == pytest.approx(c, abs=1e-11)
            assert region == ("critical" if abs(chi - 1) <= 1e-6 else "ordered" if chi < 1 else "chaotic")


@pytest.mark.parametrize("name", ["tanh", "erf", "selu", "sigmoid", "hardtanh"])
def test_critical_points_are_critical_in_the_diagram(name):
    for b in (0.0, 0.2, 1.0):
        point = meanfield.critical_point(name, bias_std=b)
        assert point.stable
        diagram = meanfield.phase_diagram(name, [point.sigma_w], [b])
        assert diagram.region[0, 0] == "critical"
        assert diagram.variance[0, 0] == pytest.approx(point.variance, rel=1e-9)
        assert meanfield.depth_scales(name, sigma_w=point.sigma_w, bias_std=b).correlation == math.inf
