"""Whether a prediction and a measurement are of the same thing, as far as both say what they are of."""

from __future__ import annotations

import math
import re
from itertools import zip_longest
from typing import Any

_WORDY = re.compile(r"(input_shape|layers|width|init|function|channels|kernel_size)=|schemes\.|activations\.|"
                    r", bias_std=0(?=\))")
_LONGEST = 100  # characters of a network's name in a message
_AROUND = 30  # characters before and behind the place where two names part
_EQUAL = 1e-9


def check(prediction: Any, measurement: Any) -> None:
    """Raise ValueError if prediction and measurement are known to be of different networks or inputs."""
    network, measured = getattr(prediction, "network", None), getattr(measurement, "network", None)
    if network is None or not isinstance(measured, str):
        return
    mine, other = _normal(repr(network)), _normal(measured)
    if mine != other:
        place = next(i for i, (a, b) in enumerate(zip_longest(mine, other)) if a != b)
        raise ValueError(f"measurement must be of the network that is predicted, {_short(mine)}, got one of "
                         f"{_short(other)}: {_from(mine, place)!r} is {_from(other, place)!r} there (to compare all "
                         "the same, give prediction.spectrum or measurement.log_singular_values)")
    variance, drawn = getattr(prediction, "input_variance", None), getattr(measurement, "input_variance", None)
    if (variance is not None and drawn is not None and prediction.input_scale_matters
            and not math.isclose(variance, drawn, rel_tol=_EQUAL)):
        raise ValueError(f"measurement must have inputs of the variance that is predicted, {variance:g}, got "
                         f"{drawn:g}: predict(network, input_variance={drawn:g})")


def _normal(text: str) -> str:
    """Return a repr in which equal numbers are the same, 1.0 is 1, without the words that say nothing here."""
    return _WORDY.sub("", re.sub(r"(?<=\d)\.0(?![\d.e])", "", text))


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"


def _from(text: str, place: int) -> str:
    """Return the text around a place."""
    return text[max(0, place - _AROUND) : place + _AROUND]
