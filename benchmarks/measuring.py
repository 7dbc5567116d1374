"""Time measuring: Jacobians, accurate values, how both grow, and a store that is read again."""

import copy
import tempfile
from itertools import pairwise

import numpy as np
import torch

import empirical
import rmt
from benchmarks.timing import best, ratio
from empirical.zoo import vit

Row = tuple[str, float, float, float]

BASE = 200, 10, 4  # width, depth, draws


def jacobian_ratio() -> float:
    """The Jacobian, N = 500, L = 10, batch 8, over its matrix products alone (layout (n, batch * n))."""
    module = empirical.build(rmt.mlp([500] * 11), 0)
    x = torch.randn(8, 500, dtype=torch.float64)
    weights = [m.weight.detach() for m in module if isinstance(m, torch.nn.Linear)]

    def products() -> torch.Tensor:
        carried = torch.ones(500, 8 * 500, dtype=torch.float64)
        for weight in weights:
            carried = weight @ carried
        return carried

    return ratio(lambda: empirical.jacobian(module, x), products)


def accurate_ratio(depth: int) -> float:
    """Accurate log singular values over product and SVD, N = 500."""
    module = empirical.build(rmt.mlp([500] * (depth + 1), "linear", "xavier_normal"), 0)
    x = torch.randn(1, 500, dtype=torch.float64)
    weights = [m.weight.detach().numpy() for m in module if isinstance(m, torch.nn.Linear)]

    def plain() -> np.ndarray:
        product = weights[0]
        for weight in weights[1:]:
            product = weight @ product
        return np.linalg.svd(product, compute_uv=False)

    return ratio(lambda: empirical.log_singular_values(module, x), plain)


def matrix_free_ratio() -> float:
    """The distribution of an 8-layer convolutional net's singular values, matrix-free, over its Jacobian and SVD."""
    channels = [3, *[16] * 7, 4]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [part for fan_in, fan_out in pairwise(channels)
                  for part in (torch.nn.Conv2d(fan_in, fan_out, 3, padding=1), torch.nn.Tanh())]
        x = torch.randn(1, 3, 32, 32)
    module = torch.nn.Sequential(*layers[:-1])
    empirical.spectral_density(module, x, steps=2)  # what torch loads once
    return ratio(lambda: empirical.spectral_density(module, x),
                 lambda: np.linalg.svd(empirical.jacobian(module, x)[0].double().numpy(), compute_uv=False), 1)


def _near(name: str) -> tuple[torch.nn.Module, torch.Tensor]:
    """A module of single precision whose values lie within 1e-5 of the largest, and an input."""
    layers: list[torch.nn.Module] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if name == "dense":
            for _ in range(30):
                layers += [torch.nn.Linear(200, 200), torch.nn.Tanh()]
                torch.nn.init.orthogonal_(layers[-2].weight)
            return torch.nn.Sequential(*layers), 0.1 * torch.randn(1, 200)
        if name == "convolutions":
            layers = [torch.nn.Conv2d(3, 16, 3, padding=1)]
            for _ in range(4):
                layers += [torch.nn.GroupNorm(4, 16), torch.nn.SiLU(), torch.nn.Conv2d(16, 16, 3, padding=1)]
            return torch.nn.Sequential(*layers), torch.randn(1, 3, 12, 12)
        return vit(width=64, depth=2, heads=4).eval(), torch.randn(1, 3, 32, 32)


def single_ratio(name: str) -> float:
    """The values of a module of single precision over the Jacobian and SVD of its copy in double."""
    module, x = _near(name)
    double, twice = copy.deepcopy(module).double(), x.double()
    empirical.log_singular_values(module, x)  # what torch loads once
    return ratio(lambda: empirical.log_singular_values(module, x),
                 lambda: np.linalg.svd(empirical.jacobian(double, twice).numpy(), compute_uv=False))


def growth_ratio(small: tuple[int, int, int], large: tuple[int, int, int]) -> float:
    """How much longer one measurement (width, depth, draws) takes than another."""
    def run(width: int, depth: int, draws: int) -> None:
        empirical.measure(rmt.mlp([width] * (depth + 1)), draws=draws, progress=False)

    return ratio(lambda: run(*large), lambda: run(*small))


def resumed() -> float:
    """Seconds in which 1000 stored networks of width 200 are there again."""
    network = rmt.mlp([200, 200])
    with tempfile.TemporaryDirectory() as folder:
        def run() -> None:
            empirical.measure(network, draws=1000, store=folder, progress=False)

        run()
        return best(run, 3)


def rows() -> tuple[Row, ...]:
    """Return what, the figure, its limit and its goal."""
    return (
        ("Jacobian, N = 500, L = 10, batch 8, against its matrix products", jacobian_ratio(), 1.35, 1.1),
        ("accurate values against product + SVD, N = 500, L = 10", accurate_ratio(10), 6.0, 3.0),
        ("accurate values against product + SVD, N = 500, L = 50", accurate_ratio(50), 4.0, 2.0),
        ("single precision against double's Jacobian + SVD: 30 dense layers", single_ratio("dense"), 3.0, 1.5),
        ("the same, 4 x (GroupNorm, SiLU, 3 x 3 convolution)", single_ratio("convolutions"), 3.0, 1.5),
        ("the same, a ViT of 2 blocks", single_ratio("vit"), 3.0, 1.5),
        ("matrix-free, 8 convolutions on 3 x 32 x 32, against Jacobian + SVD", matrix_free_ratio(), 0.1, 0.05),
        ("measuring N = 400 against N = 200, L = 10 (8 by its products)", growth_ratio(BASE, (400, 10, 4)), 9.0, 8.0),
        ("measuring L = 40 against L = 10, N = 200 (4 by its layers)", growth_ratio(BASE, (200, 40, 4)), 4.5, 4.0),
        ("measuring 40 draws against 10, N = 100, L = 10", growth_ratio((100, 10, 10), (100, 10, 40)), 4.5, 4.0),
        ("1000 stored networks of width 200, read again: seconds", resumed(), 2.0, 1.0),
    )
