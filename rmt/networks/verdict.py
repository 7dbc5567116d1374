"""A prediction in one word, and the figures that it rests on. The limits stand here alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rmt.laws.views import Spectrum
from rmt.text import exp_text

VANISHING, EXPLODING, ILL_CONDITIONED, ISOMETRIC, BALANCED = (
    "vanishing", "exploding", "ill-conditioned", "isometric", "balanced")

GROWTH, ALL = 0.1, math.log(10)  # of ln of the squared norm of a gradient, a layer and in all: less is no trouble
SPREAD = 2.0  # standard deviation of ln s: more is far from an isometry
ISOMETRY = 0.25  # root mean square of ln s: less, and s is 1 up to a factor of 1.65 at two of them
LOST = 0.01  # of the directions, beyond those that the shape takes: more, and it is no isometry
_VALUES = 64  # quantiles, of which the spread is taken


@dataclass(frozen=True)
class Verdict:
    """What a prediction comes to.

    Attributes
    ----------
    word : str
        "vanishing" or "exploding": the squared norm of a gradient changes by more than a tenth a layer (in ln) and by
        more than a factor of 10 in all. "ill-conditioned": else, if ln s has a standard deviation over 2. "isometric":
        else, if s is near 1 (ln s has a root mean square under .25) in all directions but those that the shape takes.
        "balanced": none of these.
    reason : str
        The figures that decide, with their limits.
    log_growth : float
        Of the squared norm of a gradient through all layers, in the directions that the narrowest of them keeps.
    depth : int
        Layers with weights.
    log_spread : float
        Standard deviation of ln s over the values s > 0.
    log_condition_number : float
        Typical for as many values as there are.
    """

    word: str
    reason: str
    log_growth: float
    depth: int
    log_spread: float
    log_condition_number: float

    @property
    def growth_per_layer(self) -> float:
        """What a layer multiplies the squared norm of a gradient by, on geometric average; inf above every float."""
        rate = self.log_growth / self.depth
        return math.exp(rate) if rate < 709 else math.inf

    def __str__(self) -> str:
        return f"{self.word}: {self.reason}"


def verdict(spectrum: Spectrum, log_growth: float, depth: int, n_inputs: int, least: int) -> Verdict:
    """Return what a spectrum and the growth of gradients over `depth` layers with weights come to.

    `least` is the narrowest width: the growth is that of gradients in as many directions as it keeps.
    """
    depth = max(1, depth)
    zeros = spectrum.atoms.get(0.0, 0.0)
    values = max(1, round(n_inputs * (1 - zeros)))
    if zeros == 1:
        return Verdict(VANISHING, "no direction of the input reaches the output", -math.inf, depth, 0.0, 0.0)
    logs = spectrum.log.ppf((np.arange(_VALUES) + 0.5) / _VALUES)
    spread, size = float(np.std(logs)), float(np.sqrt(np.mean(logs**2)))
    condition = spectrum.log_condition_number_at(values)
    rate, limit = log_growth / depth, max(GROWTH, ALL / depth)
    layers = f"{depth} layer{'s' * (depth > 1)} of weights"
    grown = f"squared gradients {'grow' if rate > 0 else 'shrink'} by a factor of {exp_text(log_growth)} over {layers}"
    number = f"the condition number is {exp_text(condition)}"
    side = "over" if spread > SPREAD else "under"
    wide = f"ln s has a standard deviation of {spread:.3g} ({side} {SPREAD:g}), {number}"
    lost = zeros - max(0.0, 1 - least / n_inputs)
    kept = f"squared gradients change by a factor of {exp_text(log_growth)} over {layers}"
    if abs(rate) > limit:
        word = EXPLODING if rate > 0 else VANISHING
        reason = f"{grown}, {exp_text(rate)} a layer (limits {exp_text(-limit)} and {exp_text(limit)})"
        reason += f"; {wide}" if spread > SPREAD else ""
    elif spread > SPREAD:
        word, reason = ILL_CONDITIONED, f"{wide}; {kept}"
    elif size < ISOMETRY and lost < LOST:
        word = ISOMETRIC
        reason = f"ln s has a root mean square of {size:.2g} (under {ISOMETRY:g}), {number}"
    else:
        word, reason = BALANCED, f"{kept}; {wide}"
    return Verdict(word, reason, log_growth, depth, spread, condition)
