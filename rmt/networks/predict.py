"""From a network to the law of its Jacobian: the Prediction."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rmt.checks import Number, number, positive
from rmt.finite.chain import Chain
from rmt.finite.rank import RankDistribution
from rmt.finite.regime import regime
from rmt.laws.views import Spectrum
from rmt.networks import expression
from rmt.networks.finite_width import FiniteWidth
from rmt.networks.layers import Activation, Dense, Layer, UnsupportedStructure
from rmt.networks.network import Network
from rmt.networks.signal import Signal


@dataclass(frozen=True)
class LayerRow:
    """What the mean field says after one layer.

    `variance` and `correlation` are the signal's after the layer (a Dense layer's: the preactivation's), `chi` is
    sigma_w^2 E phi'^2 with the weights that came last, `mean` and `law_variance` are of the law of x = s^2 so far.
    """

    layer: str
    width: int
    variance: float
    correlation: float
    chi: float
    mean: float
    law_variance: float


@dataclass(frozen=True)
class Prediction:
    """What the theory says of a network's Jacobian at initialization.

    Attributes
    ----------
    network : Network
        What was predicted.
    spectrum : Spectrum
        The law of the singular values of J (its `squared`: of the eigenvalues of J^T J).
    layers : tuple of LayerRow
        A row per layer.
    finite_width : FiniteWidth
        The regime, how far one network may be from the law, ln |J u|^2 of one vector, the largest value, the condition
        number, and the mass at zero that a finite width has.
    warnings : tuple of str
        What the theory leaves out here.
    """

    network: Network
    spectrum: Spectrum
    layers: tuple[LayerRow, ...]
    finite_width: FiniteWidth
    warnings: tuple[str, ...]

    @property
    def null(self) -> Chain | None:
        """The network at its own width, whose mean over networks is known to order 1/N.

        Gaussian or orthogonal layers with linear, ReLU or leaky ReLU activations; else None. Turning the sign of a unit
        changes nothing in law there, so slopes that depend on that sign alone are as good as independent coins.
        """
        return self.finite_width.chain

    @property
    def label(self) -> str:
        """What was predicted, in a few words."""
        return str(self.network)

    @property
    def log_gradient_growth(self) -> float:
        """Natural logarithm of `gradient_growth`, at any depth."""
        curve = self.spectrum.squared.curve
        return float(curve.log_inverse_s(0)[0]) + math.log(self.network.n_inputs / self.network.n_outputs)

    @property
    def gradient_growth(self) -> float:
        """E |J^T g|^2 / |g|^2 = (n_0/n_L) mean(x); inf above every float."""
        return _exp(self.log_gradient_growth)

    @property
    def condition_number(self) -> float:
        """Ratio of the edges of the law; infinite at a hard edge."""
        return self.spectrum.condition_number

    def table(self) -> str:
        """Return the rows per layer as text."""
        head = f"{'layer':32} {'width':>6} {'variance':>10} {'corr.':>7} {'chi':>8} {'mean x':>10} {'var x':>10}"
        rows = [f"{r.layer:32} {r.width:6d} {r.variance:10.4g} {r.correlation:7.4f} {r.chi:8.4f} {r.mean:10.4g} "
                f"{r.law_variance:10.4g}" for r in self.layers]
        return "\n".join([head, *rows])


def predict(network: Network, input_variance: Number = 1.0, input_correlation: Number = 0.0,
            training: bool = False) -> Prediction:
    """Predict the singular values of the input-output Jacobian.

    Parameters
    ----------
    network : Network
        The network at initialization.
    input_variance : float
        Mean square of an input entry.
    input_correlation : float
        Cosine between two inputs, in [-1, 1].
    training : bool
        Whether dropout acts.

    Raises
    ------
    UnsupportedStructure
        Where the theory does not cover a layer; it names the layer and what to use instead.
    """
    if not isinstance(network, Network):
        raise TypeError(f"network must be an rmt.Network, got {network!r}")
    q, rho = float(positive("input_variance", input_variance)), float(
        number("input_correlation", input_correlation, -1, high=1))
    signal = Signal(network.input_shape, 0.0, q, rho, gaussian=True)
    n_inputs, chi = network.n_inputs, 1.0
    parts: list[expression.Expression] = []
    log_inverse_s = np.zeros(2)  # at w = 0, to first order: mean and variance of the law so far
    rows: list[LayerRow] = []
    active: list[tuple[int, float]] = []
    widths: list[int] = []
    warnings: list[str] = []
    for i, layer in enumerate(network.layers):
        acting = layer if training else layer.evaluated()
        part, after = _step(i, acting, signal)
        own = expression.law(part, signal.size)
        if isinstance(layer, Dense) and layer.scheme.entries == "sparse":
            left = layer.width - layer.scheme.zeros(layer.width)
            warnings.append(f"layers[{i}]: {layer} has {left} non-zero entries a column; the law is that of many")
        if layer.mixes:
            chi = 1.0
            widths.append(after.size)
        elif not widths and isinstance(part, expression.Diagonal):
            warnings.append(f"layers[{i}]: {layer} acts on the input itself, taken as Gaussian")
        chi *= own.mean() * signal.size / after.size
        units = acting.active(signal)
        before = parts[-1] if parts else None
        if isinstance(part, expression.Diagonal) and isinstance(before, expression.Diagonal):
            log_inverse_s = log_inverse_s - expression.curve(parts.pop(), n_inputs).log_inverse_s(1)
            part, units = expression.merged(before, part), (units[0], units[1] * active.pop()[1])
        log_inverse_s = log_inverse_s + expression.curve(part, n_inputs).log_inverse_s(1)
        if isinstance(part, expression.Scalar):
            parts.insert(len(parts) - 1, part)  # it commutes: let two diagonals meet
        elif not isinstance(part, expression.Identity):
            parts.append(part)
            active.append(units)
        log_mean, spread = map(float, log_inverse_s)
        rows.append(LayerRow(str(layer), after.size, after.mean_square, after.correlation, chi, _exp(log_mean),
                             _exp(2 * log_mean) * spread if spread else 0.0))
        signal = after
    by_sign = all(layer.phi.by_sign for layer in network.layers if isinstance(layer, Activation))
    jacobian, rank = expression.Product(tuple(parts)), RankDistribution(n_inputs, tuple(active), by_sign)
    harmonic = len(widths) / sum(1 / n for n in widths) if widths else float(n_inputs)
    found = regime(len(widths), harmonic, expression.log_norm_variance(jacobian), rank.shift)
    norm = expression.log_norm(jacobian, float(log_inverse_s[0]))
    spectrum, chain = expression.law(jacobian, n_inputs).spectrum, expression.chain(jacobian, n_inputs)
    width = FiniteWidth(spectrum, found, rank, norm, chain if by_sign else None)
    return Prediction(network, spectrum, tuple(rows), width, tuple(warnings))


def _step(i: int, layer: Layer, signal: Signal) -> tuple[expression.Expression, Signal]:
    """Return a layer's expression and its output signal; errors name the layer."""
    try:
        part, after = layer.jacobian(signal), layer.forward(signal)
        if math.isfinite(after.mean_square):
            return part, after
    except UnsupportedStructure as error:
        raise UnsupportedStructure(f"layers[{i}]: {error}") from None
    except OverflowError:
        pass
    raise OverflowError(f"layers[{i}]: {layer}: the signal's variance is outside the range of a float")


def _exp(log: float) -> float:
    """Return e^log, inf where it is above every float (the law itself lives in logs)."""
    try:
        return math.exp(log)
    except OverflowError:
        return math.inf
