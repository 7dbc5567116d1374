"""What a Jacobian is made of: a small algebra of free matrices, and the compiler that turns it into a law.

Matrices are output by input. J^T J lives on the n_0 inputs; a factor on n_l dimensions has w_l = (n_0/n_l) w.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from itertools import groupby

import numpy as np

from rmt.finite.chain import Chain, ChainLayer, gaussian_weights
from rmt.finite.norm import LogNorm, chi_squared
from rmt.laws.convolution import ChainLaw
from rmt.laws.finite_law import FiniteLaw
from rmt.laws.law import Law
from rmt.laws.master_curve import MasterCurve
from rmt.laws.named.discrete import Discrete
from rmt.laws.named.point_mass import PointMass
from rmt.laws.residual_psi import residual_block
from rmt.laws.stream_psi import StreamPsi
from rmt.laws.thinning import thinned
from rmt.networks.stream import Array, Seen, joint_slopes

_EQUAL = 1e-12  # gains that differ by less are equal: they were rounded
_TOGETHER = 64  # places on one stream, whose number's cube is the cost


@dataclass(frozen=True)
class Gaussian:
    """Independent entries of the given variance, rows x columns.

    Any entry law with a fourth moment has the same law; `normal` says that what a finite width adds is known too.
    |J u|^2 of a fixed u is about a chi-squared variable of `freedom` degrees: `rows`, unless weights are shared.
    """

    rows: int
    columns: int
    variance: Fraction
    normal: bool = True
    freedom: Fraction | None = None

    @property
    def degrees(self) -> float:
        """The degrees of freedom of |J u|^2."""
        return float(self.rows if self.freedom is None else self.freedom)


@dataclass(frozen=True)
class Haar:
    """Semi-orthogonal, uniform, rows x columns; singular values are the root of `gain_squared`.

    A convolution turns `parts` groups of channels, each the same way in `copies` positions.
    """

    rows: int
    columns: int
    gain_squared: Fraction
    parts: int = 1
    copies: int = 1


@dataclass(frozen=True)
class Diagonal:
    """Independent diagonal entries; `law` is that of their squares.

    `seen` says of slopes of what: an activation, the variance of its argument, and that of the stream there.
    """

    size: int
    law: Law
    seen: Seen | None = None


@dataclass(frozen=True)
class Scalar:
    """A number, not zero."""

    a: Fraction


@dataclass(frozen=True)
class Identity:
    """The identity."""


@dataclass(frozen=True)
class Product:
    """Free factors, in the order in which they act (the input's first)."""

    factors: tuple[Expression, ...]


@dataclass(frozen=True)
class Block:
    """shortcut + branch on a space of `size` dimensions, shortcut a number, not zero."""

    size: int
    shortcut: Fraction
    branch: Product

    @property
    def relative(self) -> MasterCurve:
        """The curve of the branch over the shortcut."""
        return (MasterCurve(1 / self.shortcut**2) * curve(self.branch, self.size)).shortened()

    @property
    def share(self) -> float:
        """The branch's share of the mean square."""
        gain = math.exp(self.relative.log_inverse_s(0)[0])
        return gain / (1 + gain)


Expression = Gaussian | Haar | Diagonal | Scalar | Identity | Product | Block


def mixes(expression: Expression) -> bool:
    """Return whether there is a random matrix among the factors: it makes them R-diagonal (Nica and Speicher 1997)."""
    return any(isinstance(factor, Gaussian | Haar) for factor in _leaves(expression))


def curve(expression: Expression, n_inputs: int) -> MasterCurve:
    """Return the factor of the master curve that an expression contributes, on n_inputs dimensions."""
    if not isinstance(expression, Product):
        return _curve(expression, n_inputs)
    return MasterCurve.product(_stream_curve(group, n_inputs) if len(group) > 1 else (
        curve(group[0], n_inputs) ** Fraction(times) if times > 1 else curve(group[0], n_inputs))
        for group, times in _runs(groups(expression.factors)))


@lru_cache(maxsize=4096)
def _curve(expression: Expression, n_inputs: int) -> MasterCurve:
    match expression:
        case Identity():
            return MasterCurve()
        case Scalar(a):
            return MasterCurve(a**2)
        case Diagonal(size, law, _):
            return law.curve.at(Fraction(size, n_inputs))
        case Block(size, shortcut, _):
            return MasterCurve(shortcut**2) * residual_block(expression.relative).at(Fraction(size, n_inputs))
        case Gaussian(rows=rows, variance=variance):
            return gaussian_weights(rows, n_inputs, variance)
        case Haar(rows, columns, gain_squared):
            if rows >= columns:
                return MasterCurve(gain_squared)
            kept = (Fraction(rows, n_inputs), Fraction(1)), (Fraction(columns, n_inputs), Fraction(-1))
            return MasterCurve(gain_squared * Fraction(rows, columns), kept)
    raise TypeError(f"no curve of {expression!r}")


@lru_cache(maxsize=4096)
def log_inverse_s(factor: Expression, n_inputs: int) -> Array:
    """Return ln 1/S of a factor at w = 0, to first order: ln of its mean, and its variance over the mean squared."""
    return curve(factor, n_inputs).log_inverse_s(1)


def groups(factors: Iterable[Expression]) -> Iterator[tuple[Expression, ...]]:
    """Yield the factors one by one, but those together whose slopes act on one residual stream: they are not free."""
    for stretch in _stretches(factors):
        places = [i for i, factor in enumerate(stretch) if _slopes(factor)]
        if len(places) > 1 and shares_stream(stretch):
            first, end = places[0], places[-1] + 1
            yield from ((factor,) for factor in stretch[:first])
            yield stretch[first:end]
            stretch = stretch[end:]
        yield from ((factor,) for factor in stretch)


def _stretches(factors: Iterable[Expression]) -> Iterator[tuple[Expression, ...]]:
    """Yield the factors in runs, of random matrices and of what lies between them in turn."""
    return (tuple(run) for _, run in groupby(factors, lambda factor: isinstance(factor, Gaussian | Haar)))


def _runs(parts: Iterable[tuple[Expression, ...]]) -> Iterator[tuple[tuple[Expression, ...], int]]:
    """Yield the parts, and how often each is the same object in a row: blocks may be thousands."""
    for _, run in groupby(parts, lambda part: [*map(id, part)]):
        part, *others = run
        yield part, 1 + len(others)


def begins_with_slopes(factor: Expression) -> bool:
    """Return whether a factor has slopes on the stream before it."""
    return _slopes(factor) is not None


def taken_as_free(factors: Iterable[Expression]) -> bool:
    """Return whether residual branches begin with slopes whose common stream is not known, and are taken as free."""
    return any(sum(map(begins_with_slopes, run)) > 1 and not shares_stream(run)
               and any(isinstance(factor, Block) and _slopes(factor) for factor in run) for run in _stretches(factors))


def shares_stream(stretch: Sequence[Expression]) -> bool:
    """Return whether all slopes of a stretch are known to be of one Gaussian stream, a diagonal only at its end.

    Of more blocks than can be solved together in minutes they are taken as free, and `predict` says so.
    """
    slopes = [found for factor in stretch if (found := _slopes(factor))]
    known = len(slopes) <= _TOGETHER and all(found.seen for found in slopes)
    return known and not any(found in stretch for found in slopes[:-1])


def _slopes(factor: Expression) -> Diagonal | None:
    """Return a diagonal on the stream: the factor itself, or what a residual branch begins with."""
    if isinstance(factor, Block):
        factor = next(part for part in factor.branch.factors if not isinstance(part, Scalar))
    return factor if isinstance(factor, Diagonal) else None


def _stream_curve(stretch: tuple[Expression, ...], n_inputs: int) -> MasterCurve:
    """Return the factor of residual blocks, and perhaps a diagonal behind them, on one stream."""
    slopes = [found for factor in stretch if (found := _slopes(factor))]
    kinds, weights = joint_slopes([found.seen for found in slopes if found.seen])
    columns, size = iter(zip(*kinds, strict=True)), slopes[0].size
    ones, scale = (1.0,) * len(kinds), Fraction(1)
    branches, table, last = list[MasterCurve](), [ones], ones
    for factor in stretch:
        match factor:
            case Scalar(a):
                scale *= a**2
            case Diagonal():
                last = next(columns)
            case Block(_, shortcut, Product(inner)):
                begins = _slopes(factor)
                scale *= shortcut**2
                core = Product(tuple(part for part in inner if part is not begins))
                branches.append((MasterCurve(1 / shortcut**2) * curve(core, size)).shortened())
                table.append(next(columns) if begins else ones)
    psi = StreamPsi(tuple(branches), tuple(zip(*table, last, strict=True)), weights)
    return MasterCurve(scale, slopes=((psi, Fraction(size, n_inputs), Fraction(1)),))


def merged(first: Diagonal, second: Diagonal) -> Diagonal:
    """Return the product of two independent diagonals on one space, of which one is a mask: commuting, so not free.

    Masked with probability 1 - p, X has psi = p psi_X: it acts on the share p of the space that is left.
    """
    mask, other = (first.law, second.law) if _is_mask(first.law) else (second.law, first.law)
    if not _is_mask(mask):
        raise NotImplementedError("two diagonals in a row, neither of which is a mask")
    (_, zero), (x, kept) = mask._point_masses
    if isinstance(other, FiniteLaw):
        masses = defaultdict[Fraction, Fraction](Fraction, {Fraction(0): zero})
        for value, mass in other._point_masses:
            masses[x * value] += kept * mass
        return Diagonal(first.size, Discrete([*masses], [*masses.values()]))
    return Diagonal(first.size, ChainLaw(mask.curve * other.curve.at(kept)))


def _is_mask(law: Law) -> bool:
    return isinstance(law, FiniteLaw) and len(law._point_masses) == 2 and law._point_masses[0][0] == 0


def law(expression: Expression, n_inputs: int) -> Law:
    """Return the law of the eigenvalues of J^T J, J the expression with n_inputs columns."""
    return ChainLaw(thinned(curve(expression, n_inputs).settled()).shortened())


def log_norm(expression: Expression, log_mean: float) -> LogNorm:
    """Return the mean and variance of ln |J u|^2 for a fixed unit u, log_mean the ln of E |J u|^2.

    Exact where there are no slopes and entries are normal: such a matrix multiplies |u|^2 by a chi-squared variable
    over its mean, a semi-orthogonal one that contracts by a beta variable, as the ratio of two such.
    """
    mean, variance, exact = log_mean, 0.0, True
    for factor in _leaves(expression):
        match factor:
            case Diagonal() | Block():
                beta = log_norm_variance(expression)
                return LogNorm(log_mean - beta / 2, beta, False)
            case Gaussian(normal=normal):
                signed: tuple[tuple[int, float], ...] = ((1, factor.degrees),)
                exact = exact and normal
            case Haar(rows, columns, _) if rows < columns:
                signed = ((1, float(rows)), (-1, float(columns)))
            case _:
                signed = ()
        for sign, n in signed:
            shift, spread = chi_squared(np.array(n))
            mean, variance = mean + sign * float(shift), variance + sign * float(spread)
    return LogNorm(mean, variance, exact)


def chain(expression: Expression, n_inputs: int) -> Chain | None:
    """Return random matrices with at most one law of finitely many slopes behind each; else None."""
    layers, scale = list[ChainLayer](), Fraction(1)
    for factor in _leaves(expression):
        match factor:
            case Gaussian(rows, columns, normal=True) | Haar(rows, columns, _):
                turned = max(rows, columns) if isinstance(factor, Haar) else 0
                layers.append(ChainLayer(rows, curve(factor, n_inputs), turned))
            case Diagonal(_, FiniteLaw() as slopes) if layers and layers[-1].slopes == PointMass(1):
                layers[-1] = replace(layers[-1], slopes=slopes)
            case Scalar(a):
                scale *= a**2
            case Identity():
                pass
            case _:
                return None
    if not layers:
        return None
    first = replace(layers[0], weights=(layers[0].weights * MasterCurve(scale)).shortened())
    return Chain(n_inputs, (first, *layers[1:]))


def _leaves(expression: Expression) -> Iterator[Expression]:
    """Return the factors that are no products."""
    if isinstance(expression, Product):
        for factor in expression.factors:
            yield from _leaves(factor)
    else:
        yield expression


def log_norm_variance(expression: Expression) -> float:
    """Return the variance of ln |J u|^2 for a fixed u, to first order in 1/width (Hanin and Nica 2019).

    2/n for a Gaussian matrix, 2 (1/rows - 1/columns) for a semi-orthogonal one that contracts, and
    3 Var(d)/(n E(d)^2) for squared slopes d: together 5/n for a Gaussian ReLU layer, 2/n for a linear one.
    """
    match expression:
        case Identity() | Scalar():
            return 0.0
        case Product(factors):
            return sum(times * log_norm_variance(factor) for (factor,), times in _runs((one,) for one in factors))
        case Diagonal(size, law):
            square = law.mean() ** 2
            ratio = law.var() / square if square > 1e-290 else float(law.curve.log_inverse_s(1)[1])  # in logs
            return 3 * ratio / size
        case Gaussian():
            return 2 / expression.degrees
        case Block(size, _, branch):  # |u + A u|^2 = 1 + 2 u.Au + |Au|^2, the middle term of variance 4 E |Au|^2 / size
            share = expression.share
            return 4 * share * (1 - share) / size + share**2 * log_norm_variance(branch)
        case Haar(rows, columns, _):
            return max(0.0, 2 / rows - 2 / columns)


def singular(factors: Iterable[Expression]) -> tuple[tuple[int, int, int, float], ...]:
    """Return the residual blocks that may have exact zeros, as `RankDistribution.singular` has them."""
    found = list[tuple[int, int, int, float]]()
    for (block,), times in _runs((factor,) for factor in factors):
        if isinstance(block, Block) and (one := _singular(block)):
            found += [one] * times
    return tuple(found)


def _singular(block: Block) -> tuple[int, int, int, float] | None:
    """Return a block that turns its space by as much as its shortcut keeps it: half of O(n) has each of 1 and -1."""
    parts = copies = block.size
    gains = {1 / block.shortcut**2: 1.0}  # squared gain of the branch over the shortcut: its probability
    for factor in _leaves(block.branch):
        match factor:
            case Scalar(a):
                gains = {gain * a**2: p for gain, p in gains.items()}
            case Haar(rows, columns, gain_squared) if rows == columns:
                gains = {gain * gain_squared: p for gain, p in gains.items()}
                parts, copies = min(parts, factor.parts), min(copies, factor.copies)
            case Diagonal(size, FiniteLaw() as slopes):  # a mask that is all ones, say
                ones = [(x, float(mass) ** size) for x, mass in slopes._point_masses if x]
                gains = {gain * x: p * mass for gain, p in gains.items() for x, mass in ones}
            case Identity():
                pass
            case _:
                return None
    chance = sum(p for gain, p in gains.items() if math.isclose(gain, 1, rel_tol=_EQUAL)) / 2
    return (block.size, parts, copies, chance) if chance else None


def units(factors: Iterable[Expression]) -> tuple[tuple[int, float], ...]:
    """Return the rank of every factor: (n, p) stands for a Binomial(n, p) number."""
    found = list[tuple[int, float]]()
    for factor in factors:
        match factor:
            case Gaussian(rows=rows) | Haar(rows=rows):
                found.append((rows, 1.0))
            case Diagonal(size, law):
                found.append((size, float(law.curve.mass)))
    return tuple(found)
