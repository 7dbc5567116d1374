"""The laws that every generic test runs on: named ones, and what composing them brings."""

from fractions import Fraction

from rmt import (
    Bernoulli,
    Discrete,
    Empirical,
    FussCatalan,
    MarchenkoPastur,
    MultiplicativeBrownian,
    PointMass,
    Semicircle,
    mlp,
    predict,
)
from rmt.laws.convolution import ChainLaw
from rmt.laws.residual_psi import residual_block

LEAKY = Discrete((Fraction(1, 100), 1), (Fraction(1, 2), Fraction(1, 2)))  # squared slopes of a leaky ReLU
THREE = Discrete((0, 1, 4), (0.25, 0.5, 0.25))



def block(law):
    """Return the law of |1 + A|^2 from that of A^T A."""
    return ChainLaw(residual_block(law.curve))


NAMED = (
    *(MarchenkoPastur(ratio) for ratio in (0.01, 0.5, 1, 2)),
    *(FussCatalan(depth) for depth in (1, 2, 5, 10, 50, 200)),
    Bernoulli(Fraction(1, 3)),
    Bernoulli(1),
    PointMass(3),
    Discrete((0.5, 2), (0.25, 0.75)),
    THREE,
    MultiplicativeBrownian(Fraction(1, 4)),
)

COMPOSED = (
    # rectangular chains: one band, two soft edges; an atom at zero where a layer narrows
    MarchenkoPastur(0.5) * MarchenkoPastur(0.25),
    MarchenkoPastur(2) * MarchenkoPastur(3),
    MarchenkoPastur(0.5) * MarchenkoPastur(2) * Bernoulli(0.5),
    MarchenkoPastur(0.001) ** 10,  # almost a point: (w + 1000) log(1 + w/1000) - w must not cancel
    MarchenkoPastur(1e-5),
    # ReLU networks
    2 * MarchenkoPastur(1) * Bernoulli(0.5),
    (2 * MarchenkoPastur(1) * Bernoulli(0.5)) ** 30,
    # real powers
    MarchenkoPastur(1) ** 1.5,
    MarchenkoPastur(2) ** 2.5,
    Bernoulli(0.9) ** 2.5,
    # dilations
    Fraction(1, 3) * MarchenkoPastur(0.5),
    1e-60 * FussCatalan(50),
    MarchenkoPastur(1) * PointMass(Fraction(5, 2)),
    # no Gaussian factor: atoms away from zero, or a density that diverges at an edge
    Bernoulli(0.75) * Bernoulli(0.75),
    3 * Bernoulli(0.75) * Bernoulli(0.25),
    Bernoulli(0.5) ** 2,
    Discrete((1, 2), (0.1, 0.9)) ** 2,
    Discrete((1, 2), (0.5, 0.5)) ** 1.5,
    THREE * Bernoulli(0.75),
    THREE**2,
    THREE * Discrete((1, 3), (0.5, 0.5)),
    # an atom on top of the band, and edges where the density diverges
    Bernoulli(0.55) * Empirical((1, 5)),
    Bernoulli(0.5) * Empirical((1, 5)),
    Empirical((0, 1, 3, 3)) * Discrete((2, 2.7, 3.6), (0.25, 0.25, 0.5)),  # psi of one is infinite in the gap
    # several bands and an atom; bands and gaps narrower than any grid; bands that almost touch
    THREE * MarchenkoPastur(0.01),
    Discrete((1, 4), (0.5, 0.5)) * MarchenkoPastur(1e-6),
    Discrete((1, 10, 100), (0.5, 1e-3, 0.499)) * MarchenkoPastur(1e-3),
    FussCatalan(1) * Discrete((0, 0.3, 1, 5), [Fraction(k, 14) for k in (3, 5, 1, 5)]),
    predict(mlp([10, 100, 10], "leaky_relu(.3)", "orthogonal")).spectrum.squared,
    predict(mlp([32, 128, 32], "leaky_relu(.2)", "kaiming_normal")).spectrum.squared,
    predict(mlp([2, 100, 100, 1], "leaky_relu", "orthogonal")).spectrum.squared,
    # slopes and Gaussian matrices, to depth 30
    THREE * MarchenkoPastur(1),
    LEAKY * MarchenkoPastur(0.5),
    (LEAKY * MarchenkoPastur(1)) ** 30,
    # residual blocks: a band away from zero, borderline and hard edges; two bands that meet in an atom; nested
    *map(block, (Fraction(1, 4) * MarchenkoPastur(1), 2 * MarchenkoPastur(1), PointMass(9))),
    block(MarchenkoPastur(1) * Bernoulli(0.25) * MarchenkoPastur(1)),
    block(MarchenkoPastur(1) * block(0.5 * MarchenkoPastur(1))) * MarchenkoPastur(1),
    block(Fraction(1, 8000) * MarchenkoPastur(1)) ** 2000,
    block(0.5 * MarchenkoPastur(1) * LEAKY) ** 3 * MarchenkoPastur(0.5),
    MultiplicativeBrownian(1) * THREE,
)

COIN = Discrete((-1, 1), (0.5, 0.5))

# laws on the whole line, sums, and products that have a sum as a factor
THREE = Bernoulli(0.2) + Bernoulli(0.9) + MarchenkoPastur(4.75) * Bernoulli(0.6)  # minutes for all checks
LINE = (
    Semicircle(),
    Semicircle(1e-20),
    PointMass(-2),
    Discrete((-1, 0, 3), (0.25, 0.5, 0.25)),
    Empirical((-1, 0, 2, 2, Fraction(7, 3))),
    MarchenkoPastur(2) + 1.0,
    2.5 * Semicircle(2) + -1,
    COIN + COIN,  # the arcsine law
    Bernoulli(0.5) + Bernoulli(0.5),
    Bernoulli(0.75) + Bernoulli(0.75),  # an atom
    Bernoulli(0.7) + Bernoulli(0.6),  # two bands and two atoms
    Semicircle() + COIN,  # two bands that just touch, in a cube root
    0.9 * Semicircle() + COIN,
    Semicircle(0.1) + COIN + Discrete((-0.3, 0.5), (0.2, 0.8)),
    Semicircle(2) + MarchenkoPastur(0.5) + MarchenkoPastur(2),
    MarchenkoPastur(0.5) + MarchenkoPastur(0.25),
    FussCatalan(3) + Semicircle(),
    FussCatalan(2) + FussCatalan(5),
    MarchenkoPastur(0.5) * Bernoulli(0.5) + MarchenkoPastur(2) * MarchenkoPastur(0.3),
    Empirical((-1, 2, 2, 3)) + 0.2 * Semicircle(),
    COIN.compress(0.25),
    Bernoulli(0.5).compress(0.7),
    (Semicircle() + MarchenkoPastur(1)).compress(Fraction(1, 3)),
    MarchenkoPastur(2).compress(0.25),
    1e-9 * Semicircle() + 1e-9 * COIN,
    # a branch that leaves its strip gives another sheet; an atom far from zero, in units of the spread
    Semicircle(3) + 20.0 * (MarchenkoPastur(Fraction(15, 7)) * Bernoulli(0.8)) + Discrete((-2.5, 2.5), (0.7, 0.3)),
    Discrete((-3.4, -3.2), (0.3, 0.7)) + Discrete((-4.95, -4.55), (0.4, 0.6)),
    # a real solution that is no law's: it lies past the edge of one term
    THREE,
    # F is infinite in a gap: at an edge, and far from it
    FussCatalan(4) + Empirical((-2, 2)),
    Empirical((-5, 1, 2, 2, 3, 4, 5, 5)) + Semicircle(0.25) + 60 * Discrete((-3.65, -2.275), (0.6, 0.4)),
    # Newton runs off to infinity
    (MarchenkoPastur(10) + Semicircle() + MarchenkoPastur(7.8) * Bernoulli(0.75)).compress(0.8),
    (Semicircle() + 3) * MarchenkoPastur(0.5),
    (MarchenkoPastur(1) + 1.0) * (MarchenkoPastur(0.5) + 0.5),
)

LAWS = NAMED + COMPOSED + LINE
