"""What is asked of the law of an expression, and what is wrong with the answers.

First what anyone asks (`queries`: it is timed), then what only costs (`independent`: quadrature of the density, free
convolution by iteration, random matrices). Each finding is (check, words); an answer that raises is a `Raised`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import rmt
from benchmarks.expressions import Node
from benchmarks.iterated import Transform, has_power
from benchmarks.known import Facts, blur, facts
from benchmarks.matrices import compared
from benchmarks.quadrature import Measure, Unsettled

NAMES = {name: getattr(rmt, name) for name in rmt.__all__} | {"np": np}
LEVELS = np.array([0.02, 0.25, 0.5, 0.75, 0.98])

MASS = 1e-9  # of bands and atoms together; of an atom
FALL = 1e-8  # by which a cdf may fall: laws of smooth slopes have a noise of 1e-9, more in a power
MEAN = 1e-9  # of mean(), relative to the root of E X^2
VAR = 1e-6, 1e-14  # of var(), relative to itself and to E X^2
EXPECT = 1e-6  # of expect, relative to E |f|
PLACE = 1e-9  # of an atom or the hull, relative
PLACE_FLAT = 1e-6  # of an atom that stands for what a slope is far out
FLAT = 10.0  # times as far apart as values may be that count as one
INTEGRAL = 1e-6  # of the density's integral against the cdf
ROUNDING = 1e-11  # of places, relative
TRANSFORM = 1e-5  # of E d / (z - X), d how far z is from the axis: of the mass that d resolves
SECONDS = 10.0  # for the iteration
IN_WORDS = (ValueError, rmt.ConvergenceError, OverflowError)

Finding = tuple[str, str]


@dataclass
class Report:
    """What was found: wrong answers, answers that raised, checks that could not be made."""

    wrong: list[Finding]
    raised: list[Finding]
    unchecked: list[Finding]
    asking: Callable[[str], Any] = str

    def ask(self, query: str, answer: Callable[[], Any]) -> Any:
        """Return the answer, or None and note why."""
        self.asking(query)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                return answer()
        except Warning as warning:
            self.wrong.append((query, f"warns {type(warning).__name__}: {warning}"))
        except Unsettled:
            raise
        except IN_WORDS as error:
            said = f"{type(error).__name__}: {error}"
            (self.raised if str(error) else self.wrong).append((query, said[:300]))
        except Exception as error:
            self.wrong.append((query, f"raises {type(error).__name__}: {error}"[:300]))
        return None

    def demand(self, check: str, good: object, words: str) -> None:
        """Note a wrong answer."""
        if not np.all(good):
            self.wrong.append((check, words))


def queries(node: Node, report: Report, change: Callable[[Any], Any] = lambda law: law) -> Any:
    """Build the law, ask it what anyone asks, and judge the answers; return it, None if there is none."""
    known = facts(node)
    law = report.ask("law", lambda: change(eval(node.text, dict(NAMES))))
    if law is None:
        return None
    atoms, support = report.ask("atoms", lambda: law.atoms), report.ask("support", lambda: law.support)
    mean, var = report.ask("mean", law.mean), report.ask("var", law.var)
    root = math.sqrt(known.second)
    if mean is not None:
        report.demand("mean", abs(mean - known.mean) <= MEAN * root, f"mean() {mean!r} for {known.mean!r}")
    if var is not None:
        report.demand("variance", abs(var - known.var) <= VAR[0] * known.var + VAR[1] * known.second,
                      f"var() {var!r} for {known.var!r}")
    if atoms is None or support is None:
        return None
    for words in _atoms(known, facts(node, 1 / FLAT), facts(node, FLAT), atoms):
        report.wrong.append(("atoms", words))
    _hull(known, support, report)
    cdf_grid = report.ask("cdf", lambda: _grid_of(node, law, support, atoms))
    if cdf_grid is not None:
        _monotone(node, *cdf_grid, atoms, support, report)
        _steps(node, *cdf_grid, atoms, report)
    _quantiles(node, law, atoms, report)
    _averages(law, known, report)
    return law


def _atoms(known: Facts, least: Facts, most: Facts, atoms: dict[float, float]) -> Iterator[str]:
    """Yield what is wrong: masses are known but for slopes that are flat far out, which count as atoms about there."""
    room = 1e-14 * max(abs(known.low), abs(known.high))

    def near(u: float, v: float) -> bool:
        return abs(u - v) <= (PLACE if u in known.atoms else PLACE_FLAT) * abs(u) + room

    def mass(u: float, there: dict[float, Any]) -> float:
        return sum((float(m) for v, m in there.items() if near(u, v)), 0.0)

    for u in most.atoms:
        found, low, high = (mass(u, there) for there in (atoms, least.atoms, most.atoms))
        if not low - MASS <= found <= high + MASS:
            yield f"mass {found!r} at {u!r} for {low!r}{f' to {high!r}' if low < high else ''}"
    for v, found in atoms.items():
        if found > 1e-12 and not any(near(u, v) for u in most.atoms):
            yield f"an atom of {found!r} at {v!r}, where there is none"


def _hull(known: Facts, support: tuple[tuple[float, float], ...], report: Report) -> None:
    ends = np.array(support).ravel()
    if not ends.size:
        return
    size = max(abs(known.low), abs(known.high))
    low = known.low - PLACE * abs(known.low) - 1e-12 * size * (known.low != 0)
    report.demand("support", ends.min() >= low and ends.max() <= known.high + PLACE * size,
                  f"support {float(ends.min())!r} to {float(ends.max())!r} leaves [{known.low!r}, {known.high!r}]")
    report.demand("support", np.all(np.isfinite(ends)) and np.all(np.diff(ends) >= 0), f"no bands: {support!r:.200}")


def _grid_of(node: Node, law: Any, support: tuple[tuple[float, float], ...],
             atoms: dict[float, float]) -> tuple[Any, Any]:
    """Return increasing places, beside every end and atom too, and the cdf there."""
    share = (1 - np.cos(np.linspace(0, math.pi, 12))) / 2
    bands = [low + (high - low) * share for low, high in support]
    bands += [np.geomspace(low, high, 10) for low, high in support if low > 0 and high > 10 * low]
    ends = np.array([*(end for band in support for end in band), *atoms])
    beside = [ends * factor for factor in (1 - 1e-6, 1 - 1e-9, 1 - 1e-13, 1, 1 + 1e-13, 1 + 1e-9, 1 + 1e-6)]
    beside += [ends + side * 4 * blur(node, ends) for side in (-1, 1)]
    x = np.unique(np.concatenate([*bands, *beside]))
    x = np.unique(np.r_[x, (x[1:] + x[:-1]) / 2])
    return x, law.cdf(x)


def _monotone(node: Node, x: Any, cdf: Any, atoms: dict[float, float], support: tuple[tuple[float, float], ...],
              report: Report) -> None:
    narrow = _narrowest(node, support)
    report.demand("cdf", np.all(np.isfinite(cdf)) and cdf.min() >= 0 and cdf.max() <= 1, "cdf leaves [0, 1]")
    fall = int(np.argmin(np.diff(cdf))) if x.size > 1 else 0
    places, values = x.tolist(), cdf.tolist()
    report.demand("cdf", np.all(np.diff(cdf) >= -FALL - narrow),
                  f"cdf falls from {values[fall]:.12g} at {places[fall]!r} to {values[min(fall + 1, x.size - 1)]:.12g}")
    at = dict(zip(places, values, strict=True))
    masses = [at[high] - atoms.get(high, 0.0) - at[low] for low, high in support]
    total = math.fsum([*masses, *atoms.values()])
    report.demand("mass", abs(total - 1) <= MASS, f"bands and atoms hold {total!r}")
    report.demand("mass", all(mass > -MASS for mass in masses), f"a band of negative mass: {masses!r:.200}")
    report.demand("cdf", abs(cdf[-1] - 1) <= MASS, f"cdf {values[-1]!r} at the top")


def _narrowest(node: Node, support: tuple[tuple[float, float], ...]) -> float:
    """Return what the rounding of a place is of the narrowest band, and of the narrowest slope: psi knows ln x."""
    bands = [float(blur(node, np.array(high))) / (high - low) for low, high in support if high > low]
    slopes = [known.mean / math.sqrt(known.var) for known in map(facts, node.leaves) if known.var > 0]
    return max([*bands, *(3e-15 * ratio for ratio in slopes)], default=0.0)


def _steps(node: Node, x: Any, cdf: Any, atoms: dict[float, float], report: Report) -> None:
    """Judge the step of the cdf at every atom, from as far below it as rounding may move it."""
    places, values = x.tolist(), cdf.tolist()
    for u, mass in atoms.items():
        below = min(u - 3 * float(blur(node, np.array(u))), math.nextafter(u, -math.inf))
        before = int(np.searchsorted(x, below, "right"))
        step = values[places.index(u)] - (values[before - 1] if before else 0.0)
        report.demand("atoms", step >= mass - MASS, f"cdf steps by {step!r} at {u!r} for {mass!r}")


def _quantiles(node: Node, law: Any, atoms: dict[float, float], report: Report) -> None:
    x = report.ask("ppf", lambda: law.ppf(LEVELS))
    if x is None:
        return
    room, zero = blur(node, x), atoms.get(0.0, 0.0)
    if np.any((x == 0) & (zero < LEVELS)) and facts(node).low >= 0:  # under the range of floats, not of logarithms
        found = report.ask("log.cdf", lambda: [law.log.cdf(law.log.ppf(LEVELS))] * 3)
    else:
        found = report.ask("cdf", lambda: [law.cdf(x - room), law.cdf(x), law.cdf(x + room)])
    if found is None:
        return
    step = np.array([atoms.get(float(place), 0.0) for place in x])
    mass = FALL + _narrowest(node, law.support)
    good = (found[2] >= LEVELS - mass) & (found[0] - step <= LEVELS + mass)
    for q, place, value in zip(*(array[~good].tolist() for array in (LEVELS, x, found[1])), strict=True):
        report.wrong.append(("quantiles", f"ppf({q}) is {place!r}, where the cdf is {value!r}"))
    report.demand("quantiles", np.all(np.diff(x) >= 0), f"quantiles fall: {x.tolist()!r}")


def _averages(law: Any, known: Facts, report: Report) -> None:
    root = math.sqrt(known.second)
    for words, function, exact in (("expect(1)", np.ones_like, 1.0),
                                   ("expect(x)", lambda x: x / root, known.mean / root),
                                   ("expect(x^2)", lambda x: (x / root) ** 2, 1.0)):
        value = report.ask(words, lambda function=function: law.expect(function))
        if value is not None:
            report.demand(words, abs(value - exact) <= EXPECT, f"{value!r} for {exact!r}")


# ---- what only costs -----------------------------------------------------------------------------------------


def independent(node: Node, law: Any, report: Report) -> None:
    """Judge the density by its integral over every band, and all the mass by 1/(z - x) at points near it."""
    measure = Measure(law)
    z, near = _points(node, law, measure, report)
    loose = 0.0
    total = sum((mass * near / (z - u) for u, mass in measure.atoms.items()), np.zeros(z.size, dtype=complex))
    for low, high in measure.bands:
        found = _band(law, measure, low, high, lambda x: near[:, None] / (z[:, None] - x), report)
        if found is None:
            return
        total, loose = total + found[0], loose + found[1]
    if z.size:
        _convolution(node, z, near, total, loose, report)


def _points(node: Node, law: Any, measure: Measure, report: Report) -> tuple[Any, Any]:
    """Return points z beside every band, atom and quantile, and what they are away from the axis."""
    levels = np.array([0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98])
    places = report.ask("ppf", lambda: law.ppf(levels))
    if places is None:
        return np.zeros(0, dtype=complex), np.zeros(0)
    middles, widths = [(low + high) / 2 for low, high in measure.bands], [h - lo for lo, h in measure.bands]
    std = math.sqrt(facts(node).var)
    found = [_unique(np.r_[places, middles, list(measure.atoms)])]
    x, z = found[0], []
    if facts(node).low >= 0:
        turned = x[x > 1e-250]
        z = [-turned] if has_power(node) else [-turned, turned * np.exp(0.2j)]
    if not has_power(node):
        z += [x + 0.03j * std, x + 0.3j * std]
        z += [np.array([middle + 0.3j * width]) for middle, width in zip(middles, widths, strict=True)
              if 1e-6 * std < width < std][:12]
    at = np.concatenate(z).astype(complex) if z else np.zeros(0, dtype=complex)
    near = np.where(at.imag > 0, at.imag, np.abs(at))
    clear = near > 10 * blur(node, at.real)  # nearer than that rounding moves the law
    return at[clear], near[clear]


def _unique(x: Any) -> Any:
    """Return at most 16 different places."""
    x = np.unique(x)
    return x if x.size <= 16 else x[np.linspace(0, x.size - 1, 16).round().astype(int)]


def _band(law: Any, measure: Measure, low: float, high: float, functions: Callable[[Any], Any],
          report: Report) -> Any:
    """Return the integrals of the functions over a band, and their error; its mass is judged. None: there are none."""
    mass = report.ask("cdf", lambda: law.cdf(high) - measure.atoms.get(high, 0.0) - law.cdf(low))
    if mass is None:
        return None
    blur = 3e-15 * max(abs(low), abs(high)) / (high - low)
    if blur > 0.01:  # narrower than the rounding of its places: as one value
        return mass * functions(np.array([(low + high) / 2]))[:, 0], 0.0
    try:
        found = report.ask("pdf", lambda: measure.band(low, high, functions))
    except Unsettled as error:
        report.unchecked.append(("density", str(error)))
        return None
    if found is None:
        return None
    (inside, *rest), missing = found
    ends = _at_the_ends(law, low, high, mass)
    hidden = 4 * mass * math.sqrt(blur)  # next to where the density is infinite, were it inside the band
    room = INTEGRAL + blur + 10 * missing + float(ends.sum()) + hidden
    report.demand("density", abs(inside - mass) <= room,
                  f"over {low!r} to {high!r} it integrates to {float(inside.real)!r}, the cdf says {float(mass)!r}")
    lost = float(np.clip(mass - inside.real, 0, ends.sum()))  # what no quadrature in x sees is at the ends
    if lost > INTEGRAL:
        rest = np.array(rest) + functions(np.array([low, high])) @ (lost * ends / ends.sum())
    return np.array(rest), blur + 10 * missing + hidden


def _at_the_ends(law: Any, low: float, high: float, mass: float) -> Any:
    """Return what lies so near each end of a band that rounding may move it over them: a density may be infinite."""
    near = np.array([low + ROUNDING * (high - low + abs(low)), high - ROUNDING * (high - low + abs(high))])
    before, after = law.cdf(near) - law.cdf(low)
    return np.clip([before, mass - after], 0, mass)


def _convolution(node: Node, z: Any, near: Any, total: Any, loose: float, report: Report) -> None:
    """Judge E d / (z - X), d the distance of z from the axis, by free convolution."""
    try:
        with np.errstate(all="ignore"):
            exact, rough = (near / (z - Transform(node, SECONDS, nodes)(z)) for nodes in (48, 24))
    except Unsettled as error:
        report.unchecked.append(("convolution", str(error)))
        return
    miss, room = np.abs(total - exact), TRANSFORM + loose + 10 * np.abs(exact - rough)
    worst = int(np.argmax(np.where(np.isfinite(miss), miss - room, -1)))
    report.demand("convolution", miss[worst] <= room[worst],
                  f"mass is amiss by {miss[worst]:.2g} near {z.real[worst]:.6g}, within {near[worst]:.2g}")


def simulated(node: Node, law: Any, fraction: float, index: int, report: Report) -> None:
    """Judge the law by random matrices: a fraction of all, and laws of several bands."""
    if np.random.default_rng(index).random() >= fraction and len(law.support) < 2:
        return
    try:
        report.wrong += report.ask("cdf", lambda: compared(node, law, index)) or []
    except Unsettled as error:
        report.unchecked.append(("matrices", str(error)))
