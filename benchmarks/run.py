"""Time what DESIGN limits, and the laws against their peers, as ratios in one run: `make bench` -> docs/benchmarks.md.

Unit: one numpy SVD, with vectors, of a 500 x 500 matrix, with one BLAS thread.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits

import rmt
from benchmarks import against, measuring, start
from benchmarks.timing import best, ratio
from figures.tables import Column, Table


def unit() -> object:
    """The SVD that everything is a ratio to."""
    return np.linalg.svd(np.random.default_rng(0).standard_normal((500, 500)))


def densities() -> float:
    """1000 densities at given x of a new FussCatalan law over the unit, the slowest of depths 2..50."""
    def run(depth: int) -> None:
        rmt.FussCatalan(depth).pdf(np.geomspace(1e-3, 2.5, 1000))

    return max(ratio(lambda depth=depth: run(depth), unit, 3) for depth in (2, 5, 10, 20, 50))


def quantiles() -> float:
    """1000 quantiles of a new three-fold mixed product over the unit."""
    q = (np.arange(1000) + 0.5) / 1000
    return ratio(lambda: (rmt.MarchenkoPastur(0.5) * rmt.MarchenkoPastur(2) * rmt.Bernoulli(0.5)).ppf(q), unit)


def smooth_quantiles() -> float:
    """Predicting 20 tanh layers of 20 variances, and 1000 quantiles, over the unit."""
    q = (np.arange(1000) + 0.5) / 1000
    network = rmt.mlp([100] * 21, "tanh", rmt.schemes.gaussian(1.3), bias_std=0.2)
    return ratio(lambda: rmt.predict(network).spectrum.ppf(q), unit)


def depth_ratio() -> float:
    """Seconds for 1000 log densities at depth 500 over those at depth 5."""
    y = np.linspace(-8, 2, 1000)
    return ratio(lambda: rmt.FussCatalan(500).log.pdf(y), lambda: rmt.FussCatalan(5).log.pdf(y))


def blocks_ratio() -> float:
    """Seconds to predict 2000 equal residual blocks, with 1000 quantiles, over those for 8."""
    q = (np.arange(1000) + 0.5) / 1000

    def run(depth: int) -> None:
        branch = [rmt.Dense(100, "lecun_normal"), rmt.Activation("relu"), rmt.Dense(100)]
        network = rmt.Network(100, [rmt.Residual(branch, 0.5 * depth**-0.5)] * depth)
        rmt.predict(network).spectrum.ppf(q)

    return ratio(lambda: run(2000), lambda: run(8))


PAGE = Path("docs/benchmarks.md")
PEERS = f"""## Against other packages

{", ".join(against.PEERS.values())}, each in an environment of its own (`out/peers`, made on the first run),
used as its documentation says: `benchmarks/peers` is all the code. A cell is the time for {against.POINTS} points over
the unit, best of two times five runs, and in brackets the largest error, against mpmath at 50 digits, at every ninth
point: relative for densities and quantiles, absolute for the cdf and for quantiles of laws with values of both signs.
The points have
cdf from 1e-6 to 1 - 1e-6 of the continuous part, even in the logit; the first is the atom at zero where there is one
(cdf at 0, quantile at half its mass). Each run asks a new object that has given one density, so what a law keeps from
its first call is paid for (not where making one takes over .2 s). Construction is a new object and its first density.
A run is as many calls, each of an object of its own, as fill 2 ms, at most 100.

A package whose largest error in a row is above {against.WRONG:.0e} is wrong there and its time does not count. The last
column is our time over that of the fastest package that is right, SLOWER where over 1.5. A package is MORE ACCURATE
where its largest error is under {against.EVEN[1]} of ours and ours is over {against.EVEN[0]:.0e}.

{against.WORDS}
"""


def main() -> None:
    """Write the page, and print it."""
    with threadpool_limits(1):
        torch.set_num_threads(1)
        rows = (
            ("1000 densities at given x, FussCatalan(2..50)", densities(), 0.5, 0.1),
            ("1000 quantiles of a three-fold mixed product", quantiles(), 1.0, 0.3),
            ("prediction and 1000 quantiles, 20 different tanh layers", smooth_quantiles(), 10.0, 3.0),
            ("depth 500 against depth 5, equal layers", depth_ratio(), 2.0, 1.0),
            ("2000 equal residual blocks against 8, prediction and 1000 quantiles", blocks_ratio(), 2.0, 1.0),
            *measuring.rows(),
            *start.rows(),
        )
        results = against.compare()
        svd = best(unit)
    columns = tuple(Column(key, key) for key in ("work", "ratio", "limit", "goal"))
    page = ("# Speed\n\nMade by `make bench`. The unit is one numpy SVD, with vectors, of a 500 x 500 matrix, with\n"
            f"one BLAS thread in the same run: {svd * 1000:.0f} ms here.\n\n{Table(columns, rows).markdown()}\n{PEERS}")
    page += against.notes(results)
    for method, title in (("pdf", "Density"), ("cdf", "Cdf"), ("ppf", "Quantile"), ("build", "Construction")):
        page += f"### {title}\n\n{against.speed(results, method, svd)}\n"
    PAGE.write_text(page.rstrip() + "\n")
    print(page)


if __name__ == "__main__":
    main()
