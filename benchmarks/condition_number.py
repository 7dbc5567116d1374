"""Simulate the constants of `rmt.finite.condition` again: `python -m benchmarks.condition_number [draws]`."""

from __future__ import annotations

import math
import sys

import numpy as np

from empirical.progress import progress
from empirical.singular_values import chain_log_singular_values
from rmt.finite.condition import CONSTANTS, SPREADS


def log_condition_numbers(depth: int, width: int, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Return ln kappa of `draws` products, whose singular values keep their digits however small."""
    found = []
    for _ in range(draws):
        layers = [rng.normal(size=(width, width)) / math.sqrt(width) for _ in range(depth)]
        values = chain_log_singular_values(layers, width)
        found.append(values[0] - values[-1])
    return np.array(found)


def main() -> None:
    """Print the constants, their standard errors and those in use."""
    draws, width = int(sys.argv[1]) if len(sys.argv) > 1 else 400, 50
    rng = np.random.default_rng(0)
    print(f"E ln kappa - (L+1)/2 ln N, N = {width}, {draws} products a depth, seed 0")
    print(" L  simulated  error  in use    sd  in use")
    for depth in progress(range(1, len(CONSTANTS) + 1), len(CONSTANTS), "depths"):
        values = log_condition_numbers(depth, width, draws, rng)
        constant, spread = values.mean() - (depth + 1) / 2 * math.log(width), values.std(ddof=1)
        print(f"{depth:2d}  {constant:9.2f}  {spread / math.sqrt(draws):5.2f}  {CONSTANTS[depth - 1]:6.2f}  "
              f"{spread:4.2f}  {SPREADS[depth - 1]:6.2f}")


if __name__ == "__main__":
    main()
