"""Moments of rectangular chains against sums over non-crossing partitions: no S-transform anywhere."""

import itertools
import math
from fractions import Fraction
from functools import cache

import pytest
from numpy.testing import assert_allclose

from rmt import mlp, predict

ORDER = 5
SLOPES = {"linear": {1: 1}, "relu": {0: Fraction(1, 2), 1: Fraction(1, 2)},
          "leaky_relu(0.5)": {Fraction(1, 4): Fraction(1, 2), 1: Fraction(1, 2)}}
VARIANCES = {  # of an entry, for rows x columns
    "gaussian(sigma_w=1.5)": lambda rows, columns: Fraction(9, 4) / columns,
    "xavier_normal": lambda rows, columns: Fraction(2, rows + columns),
    "kaiming_normal": lambda rows, columns: Fraction(2, columns),
    "kaiming_normal(mode='fan_out', nonlinearity='tanh')": lambda rows, columns: Fraction(25, 9) / rows,
}
GAIN = Fraction(3, 2)


def cycles(permutation):
    seen, lengths = set(), []
    for start in range(len(permutation)):
        length, i = 0, start
        while i not in seen:
            seen.add(i)
            length, i = length + 1, permutation[i]
        if length:
            lengths.append(length)
    return lengths


@cache
def non_crossing(n):
    """Block sizes of each non-crossing partition and of its complement: the permutations s on a geodesic to the
    cycle c, #(s) + #(s^-1 c) = n + 1 (Biane 1997)."""
    pairs = []
    for s in itertools.permutations(range(n)):
        inverse = sorted(range(n), key=s.__getitem__)
        blocks, complement = cycles(s), cycles([inverse[(i + 1) % n] for i in range(n)])
        if len(blocks) + len(complement) == n + 1:
            pairs.append((blocks, complement))
    return pairs


def mixed(cumulants, moments):
    """Moments of a b, a and b free, from the free cumulants of a and the moments of b (index 0 unused)."""
    return [1] + [sum(math.prod(cumulants[k] for k in blocks) * math.prod(moments[k] for k in complement)
                      for blocks, complement in non_crossing(n)) for n in range(1, ORDER + 1)]


def free_cumulants(moments):
    cumulants = [0] * (ORDER + 1)
    for n in range(1, ORDER + 1):  # the nth cumulant enters the nth moment once, alone
        cumulants[n] = moments[n] - mixed(cumulants, [1] * (ORDER + 1))[n]
    return cumulants


def chain_moments(widths, slopes, init):
    """Moments of J J^T layer by layer on its own dimension, then of J^T J on the inputs'."""
    moments = [1] * (ORDER + 1)
    for columns, rows in itertools.pairwise(widths):
        if init in VARIANCES:  # W A W^T is compound free Poisson
            cumulants = [Fraction(columns, rows) * (VARIANCES[init](rows, columns) * rows) ** k * moments[k]
                         for k in range(ORDER + 1)]
            moments = mixed(cumulants, [1] * (ORDER + 1))
        elif rows <= columns:  # a corner of the rotated A
            kept = Fraction(rows, columns)
            corner = mixed(free_cumulants(moments), [kept] * (ORDER + 1))
            moments = [1] + [GAIN ** (2 * k) * corner[k] / kept for k in range(1, ORDER + 1)]
        else:
            moments = [1] + [GAIN ** (2 * k) * moments[k] * Fraction(columns, rows) for k in range(1, ORDER + 1)]
        if len(slopes) > 1:
            diagonal = [sum(p * Fraction(d) ** k for d, p in slopes.items()) for k in range(ORDER + 1)]
            moments = mixed(free_cumulants(moments), diagonal)
    return [float(m * Fraction(widths[-1], widths[0])) for m in moments[1:]]


@pytest.mark.parametrize("init", [*VARIANCES, "orthogonal(gain=1.5)"])
@pytest.mark.parametrize("activation", SLOPES)
@pytest.mark.parametrize("widths", [(7, 7), (10, 4), (4, 10), (6, 4, 8), (4, 8, 6, 3), (9, 5, 5, 7, 2)], ids=str)
def test_moments_of_a_chain_are_sums_over_non_crossing_partitions(widths, activation, init):
    law = predict(mlp(widths, activation, init)).spectrum.squared
    exact = chain_moments(widths, SLOPES[activation], init)
    assert_allclose([law.moment(k) for k in range(1, ORDER + 1)], exact, rtol=1e-11)
