"""What the theory says of a network, as a job: the law of a deep network of smooth activations takes seconds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from empirical.kept import Arrays
from rmt.networks.network import Network
from rmt.networks.predict import predict


@dataclass(frozen=True)
class Predicted:
    """The law of a network's singular values, and what one network of its width has.

    The answer has, in natural logs and given s > 0, `quantiles` at `levels` and `density` there; `largest`, `smallest`
    and `condition` of the law at this many values, and at this width where that is known (`finite_largest`,
    `finite_condition`; NaN elsewhere). `variance` is Var(x) / (E x)^2 of x = s^2, `growth` ln of the gradient growth.
    """

    network: Network
    input_variance: float = 1.0
    levels: tuple[float, ...] = (0.5,)

    def run(self, partial: Path | None) -> Arrays:
        """Predict."""
        found = predict(self.network, self.input_variance)
        law, finite = found.spectrum, found.finite_width
        quantiles = law.log.ppf(self.levels)
        alive = max(1, round(self.network.n_inputs * (1 - law.atoms.get(0.0, 0.0))))
        largest, condition = law.log_edges[1], law.log_condition_number_at(alive)
        own = finite.log_largest
        answer = {"quantiles": quantiles, "density": law.log.pdf(quantiles), "largest": largest,
                  "smallest": largest - condition, "condition": condition,
                  "finite_largest": own.mean if own else math.nan,
                  "finite_condition": finite.log_condition_number if own else math.nan,
                  "variance": law.squared.var() / law.squared.mean() ** 2, "growth": found.log_gradient_growth}
        return {name: np.asarray(value, dtype=float) for name, value in answer.items()}
