"""Mean field: what is refused and in which words, and the edges of what is answered."""

import math

import numpy as np
import pytest

from rmt.networks import activations, meanfield
from rmt.networks.meanfield import FixedPoint, NoFixedPoint

SCALAR = [meanfield.fixed_point, meanfield.fixed_points, meanfield.correlation_fixed_point, meanfield.depth_scales,
          meanfield.trainable_depth]


@pytest.mark.parametrize("f", SCALAR)
@pytest.mark.parametrize(("changed", "error", "word"), [
    ({"activation": "tahn"}, ValueError, "did you mean 'tanh'"), ({"activation": None}, ValueError, "activation"),
    ({"sigma_w": -1.0}, ValueError, r"sigma_w must be in \(0, 100000\], got -1.0"),
    ({"sigma_w": 0}, ValueError, "sigma_w"), ({"sigma_w": math.nan}, ValueError, "sigma_w.*nan"),
    ({"sigma_w": "1"}, TypeError, "sigma_w must be a real number"), ({"sigma_w": 1e6}, ValueError, "sigma_w"),
    ({"bias_std": -0.1}, ValueError, r"bias_std must be in \[0, 100000\], got -0.1"),
    ({"bias_std": math.inf}, ValueError, "bias_std"), ({"bias_std": True}, TypeError, "bias_std"),
])
def test_arguments_are_checked(f, changed, error, word):
    with pytest.raises(error, match=word):
        f(**{"activation": "tanh", "sigma_w": 1.0, "bias_std": 0.0} | changed)


@pytest.mark.parametrize(("f", "arguments", "error", "word"), [
    (meanfield.chi, {"activation": "tanh", "variance": -1.0, "sigma_w": 1}, ValueError, "variance.*got -1.0"),
    (meanfield.chi, {"activation": "tanh", "variance": [1.0, math.nan], "sigma_w": 1}, ValueError, "variance.*nan"),
    (meanfield.chi, {"activation": "tanh", "variance": 1.0, "sigma_w": -1}, ValueError, "sigma_w"),
    (meanfield.critical_point, {"activation": "tanh", "bias_std": -1}, ValueError, "bias_std"),
    (meanfield.critical_point, {"activation": "tahn"}, ValueError, "did you mean"),
    (meanfield.phase_diagram, {"activation": "tanh", "sigma_w": [1, 0], "bias_std": [0]}, ValueError, "sigma_w.*got 0"),
    (meanfield.phase_diagram, {"activation": "tanh", "sigma_w": [1], "bias_std": [-1]}, ValueError, "bias_std.*got -1"),
    (meanfield.phase_diagram, {"activation": "tanh", "sigma_w": 1, "bias_std": [0]}, ValueError, "sigma_w.*sequence"),
    (meanfield.phase_diagram, {"activation": "tanh", "sigma_w": [1], "bias_std": [[0]]}, ValueError, r"shape \(1, 1\)"),
    (meanfield.phase_diagram, {"activation": "tanh", "sigma_w": ["a"], "bias_std": [0]}, TypeError, "sigma_w"),
    (meanfield.phase_diagram, {"activation": "tanh", "sigma_w": [], "bias_std": [0]}, ValueError, "at least one"),
    (meanfield.phase_diagram, {"activation": "tnah", "sigma_w": [1], "bias_std": [0]}, ValueError, "did you mean"),
])
def test_other_arguments_are_checked(f, arguments, error, word):
    with pytest.raises(error, match=word):
        f(**arguments)


@pytest.mark.parametrize("f", [f for f in SCALAR if f is not meanfield.fixed_points])
@pytest.mark.parametrize(("name", "sigma_w", "bias_std", "words"), [
    ("relu", 1.5, 0, "relu at sigma_w = 1.5, bias_std = 0: no fixed point, the variance grows by a factor that tends "
     "to 1.125 a layer"),
    ("relu", math.sqrt(2), 0.1, "relu at sigma_w = 1.41421, bias_std = 0.1: .* tends to 1 a layer"),
    ("linear", 1.0, 0.1, "linear at .* tends to 1 a layer"), ("elu", 1.5, 0, "elu at .* tends to 1.125 a layer"),
    ("gelu", 1.5, 0.5, "gelu at .* tends to 1.125 a layer"), ("softplus", 1.5, 0, "tends to 1.125 a layer"),
])
def test_no_fixed_point_in_words(f, name, sigma_w, bias_std, words):
    with pytest.raises(NoFixedPoint, match=words):
        f(name, sigma_w=sigma_w, bias_std=bias_std)
    assert meanfield.fixed_points(name, sigma_w=sigma_w, bias_std=bias_std) in ((), (FixedPoint(0.0, False),))


@pytest.mark.parametrize(("name", "bias_std"), [("relu", 0.1), ("linear", 1.0), ("softplus", 0.0), ("softplus", 1.0)])
def test_no_critical_point_in_words(name, bias_std):
    with pytest.raises(NoFixedPoint, match=f"{name} at bias_std = {bias_std:g}: no critical point"):
        meanfield.critical_point(name, bias_std=bias_std)


def test_where_every_variance_is_fixed():
    with pytest.raises(ValueError, match="every variance is a fixed point"):
        meanfield.fixed_points("relu", sigma_w=math.sqrt(2))
    assert meanfield.fixed_point("linear", sigma_w=1) == FixedPoint(1.0, False)


def test_a_function_that_outgrows_every_factor():
    """Where its averages overflow the table of variances ends."""
    cube = activations.custom("cube", lambda u: u**3, lambda u: 3 * u**2)
    with pytest.raises(NoFixedPoint, match=r"cube at .* faster than by any factor"):
        meanfield.fixed_point(cube, sigma_w=1)
    assert meanfield.fixed_points(cube, sigma_w=1) == (
        FixedPoint(0.0, True), FixedPoint(pytest.approx(15**-0.5), False))
    assert meanfield.fixed_point(cube, sigma_w=0.2) == FixedPoint(0.0, True)
    assert meanfield.depth_scales(cube, sigma_w=0.2).variance < 0.01
    assert meanfield.phase_diagram(cube, [0.2, 1.0], [0.0]).region.tolist() == [["ordered", "unbounded"]]


def test_variance_zero():
    assert meanfield.fixed_point("tanh", sigma_w=0.9) == FixedPoint(0.0, True)
    assert meanfield.correlation_fixed_point("tanh", sigma_w=0.9) == 1
    assert meanfield.depth_scales("tanh", sigma_w=0.9).correlation == pytest.approx(-1 / math.log(0.81))
    assert meanfield.depth_scales("relu", sigma_w=1).variance == pytest.approx(1 / math.log(2))
    a = activations.SELU_SCALE**2
    assert meanfield.chi("selu", variance=0, sigma_w=1) == pytest.approx(a * (1 + activations.SELU_ALPHA**2) / 2)


def test_extreme_scales():
    assert meanfield.fixed_point("tanh", sigma_w=1e5, bias_std=1e5).variance == pytest.approx(2e10, rel=1e-4)
    assert meanfield.fixed_point("tanh", sigma_w=0.5, bias_std=1e-9).variance == pytest.approx(1e-18 / 0.75, rel=1e-9)
    assert meanfield.fixed_point("relu", sigma_w=math.sqrt(2 - 1e-9), bias_std=1e5).variance == pytest.approx(2e19)
    assert meanfield.fixed_point("softplus", sigma_w=1e-200).variance == 0


def test_shapes_and_types():
    assert np.shape(meanfield.chi("tanh", variance=1, sigma_w=1)) == ()
    assert meanfield.chi(activations.tanh, variance=[[0.0, 1.0, 2.0]], sigma_w=1).shape == (1, 3)
    assert isinstance(meanfield.correlation_fixed_point("tanh", sigma_w=1), float)
    assert meanfield.phase_diagram("tanh", (1, 2), np.array([0.0, 1.0, 2.0])).region.shape == (3, 2)
    assert meanfield.depth_scales("hardtanh", sigma_w=1e-170) == meanfield.DepthScales(0.0, 0.0)
    with pytest.raises(AttributeError):
        meanfield.fixed_point("tanh", sigma_w=1).variance = 2
    assert issubclass(NoFixedPoint, ValueError)
