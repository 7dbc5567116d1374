"""The sweep of random expressions: its rules agree with each other, they find laws that are wrong, and pass others."""

import math

import numpy as np
import pytest

from benchmarks import judged, matrices, sweep
from benchmarks.expressions import expression, parsed
from benchmarks.iterated import Transform, has_power
from benchmarks.known import facts
from benchmarks.quadrature import adaptive

TEXTS = (
    "MarchenkoPastur(0.3) * Discrete((0.5, 2.0, 30.0), (0.5, 0.3, 0.2)) * Bernoulli(0.6)",
    "Discrete((-1.0, 2.0), (0.75, 0.25)) + Discrete((0.0, 50.0), (0.6, 0.4))",
    "(SquaredSlope('silu', 0.7) + Semicircle(0.5)) + 3.0",
    "(2.5 * FussCatalan(3)).compress(0.4)",
    "(MultiplicativeBrownian(0.4) + Bernoulli(0.35)) ** 2",
    "SquaredSlope('elu', 2.0) * Discrete((1.0, 2.0), (0.5, 0.5))",
)
QUICK = (
    *TEXTS[:2], TEXTS[3], "Bernoulli(0.7) + Semicircle(0.1)", "FussCatalan(20) ** 7", "MarchenkoPastur(50.0) ** 2.5",
    "SquaredSlope('hardtanh', 0.8) * MarchenkoPastur(0.01)", "3.0 * SquaredSlope('relu', 2.0)",
)


def reported(node, change=lambda law: law, fraction=1.0):
    report = judged.Report([], [], [])
    law = judged.queries(node, report, change)
    if law is not None:
        judged.independent(node, law, report)
        judged.simulated(node, law, fraction, 0, report)
    return report


def test_an_expression_is_its_number():
    for i in range(40):
        node = expression(0, i)
        assert node == expression(0, i)
        assert node.text != expression(1, i).text
        assert facts(parsed(node.text)).var == pytest.approx(facts(node).var, rel=1e-12)
        assert 1 <= len(node.leaves) <= 6


@pytest.mark.parametrize("text", TEXTS)
def test_the_rules_agree_with_random_matrices_and_with_each_other(text):
    """Mean, variance and atoms by cumulants; G by iteration; eigenvalues: no law of the package takes part.

    A matrix of 400 has G to a few times 1/400 of the mass that z resolves.
    """
    node = parsed(text)
    known = facts(node)
    values, _ = matrices.pooled(node, 0)
    std = math.sqrt(known.var)
    assert abs(values.mean() - known.mean) < 0.02 * std
    assert abs(values.var() / known.var - 1) < 0.05
    for place, mass in known.atoms.items():
        assert abs(np.mean(np.abs(values - place) < 1e-6 * std) - float(mass)) < 3 / matrices.SIZE
    x = np.quantile(values, [0.2, 0.5, 0.9])
    z = -x[x > 1e-6 * std] + 0j if has_power(node) else x + 0.1j * std
    distance = np.where(z.imag > 0, z.imag, np.abs(z))
    by_iteration = distance / (z - Transform(node, 20.0)(z))
    assert np.abs(by_iteration - np.mean(distance[:, None] / (z[:, None] - values), axis=1)).max() < 0.01


@pytest.mark.parametrize("text", QUICK)
def test_a_law_of_the_package_passes(text):
    report = reported(parsed(text), fraction=0.0)
    assert (report.wrong, report.raised, report.unchecked) == ([], [], [])


def test_a_law_that_is_wrong_is_found_by_each_rule():
    node = parsed(TEXTS[0])
    found = {check for check, _ in reported(node, lambda law: 1.2 * law).wrong}
    assert found >= {"mean", "variance", "expect(x)", "convolution", "matrices"}
    assert {check for check, _ in reported(node, lambda law: 1.0001 * law).wrong} >= {"mean", "variance", "convolution"}


class Lossy:
    """A law whose first band is not found: what was in it is said to lie in the next."""

    def __init__(self, law):
        self.law, self.atoms = law, law.atoms
        (self.low, self.high), *self.support = law.support
        self.lost = law.cdf(self.high) - law.cdf(self.low)

    def cdf(self, x):
        x = np.asarray(x)
        return np.where((x >= self.low) & (x < self.support[0][0]), self.law.cdf(self.low), self.law.cdf(x))[()]

    def __getattr__(self, name):
        return getattr(self.law, name)


def test_a_lost_band_is_found():
    node = parsed(TEXTS[1])
    found = {check for check, _ in reported(node, Lossy).wrong}
    assert {"mass", "quantiles", "matrices"} <= found


def test_a_process_that_is_over_its_time_ends_and_counts():
    """What hangs, dies or raises anything but words is told apart."""
    nodes = {0: parsed(TEXTS[0]), 1: parsed("FussCatalan(8) + SquaredSlope('gelu', 1.0)"), 2: parsed("Bernoulli(0.0)")}
    results = {r.index: r for r in sweep.sweep(nodes, 1, limit=0.01, matrices=0.0)}
    assert results[1].over
    assert results[1].asked
    assert results[2].raised[0][0] == "law"
    assert not results[0].wrong


@pytest.mark.slow
def test_a_hundred_expressions():
    """None is wrong; one in two hundred may raise and none be over time: twelve are allowed, for slower machines."""
    results = list(sweep.sweep({i: expression(7, i) for i in range(100)}, 2, limit=12.0, matrices=0.15))
    assert [(r.text, r.wrong) for r in results if r.wrong] == []
    assert len([r.text for r in results if r.over or r.raised]) <= 12


def test_the_quadrature_finds_a_peak_between_its_nodes():
    """A mass of 1e-4 over 1e-7 of the band, which no node sees: the cdf says that it is there."""
    def density(x):
        return np.array([1 - 1e-4 + 1e-4 * np.exp(-(((x - 0.3) / 1e-7) ** 2)) / (1e-7 * math.sqrt(math.pi))])

    def below(x):
        return (1 - 1e-4) * x + 1e-4 * (x > 0.3)

    cuts = np.linspace(0, 1, 5)
    total, missing = adaptive(density, cuts, 1e-8, below)
    assert total[0] == pytest.approx(1, abs=1e-7)
    assert missing < 1e-8
    assert adaptive(lambda x: 0.9 * density(x), cuts, 1e-8, below)[0][0] == pytest.approx(0.9, abs=2e-4)
