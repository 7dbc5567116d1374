"""From a network to the law of its Jacobian: the Prediction."""

from __future__ import annotations

from dataclasses import dataclass

from rmt.checks import Number, number, positive
from rmt.finite.rank import RankDistribution
from rmt.finite.regime import Regime, regime
from rmt.laws.convolution import ChainLaw
from rmt.laws.views import Spectrum
from rmt.networks import expression
from rmt.networks.layers import Activation, Dense, UnsupportedStructure
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
class FiniteWidth:
    """What the finite width does: the regime, and the distribution of the rank."""

    regime: Regime
    rank: RankDistribution


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
    gradient_growth : float
        E |J^T g|^2 / |g|^2 = (n_0/n_L) mean(x).
    finite_width : FiniteWidth
        The regime, and the mass at zero that a finite width has.
    warnings : tuple of str
        What the theory leaves out here.
    """

    network: Network
    spectrum: Spectrum
    layers: tuple[LayerRow, ...]
    gradient_growth: float
    finite_width: FiniteWidth
    warnings: tuple[str, ...]

    @property
    def label(self) -> str:
        """What was predicted, in a few words."""
        return str(self.network)

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


def predict(network: Network, input_variance: Number = 1.0, input_correlation: Number = 0.0) -> Prediction:
    """Predict the singular values of the input-output Jacobian.

    Parameters
    ----------
    network : Network
        The network at initialization.
    input_variance : float
        Mean square of an input entry.
    input_correlation : float
        Cosine between two inputs, in [-1, 1].

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
    parts: list[expression.Expression] = []
    rows: list[LayerRow] = []
    active: list[tuple[int, float]] = []
    warnings: list[str] = []
    n_inputs, gain = network.n_inputs, 1.0
    total = expression.curve(expression.Identity(), n_inputs)
    for i, layer in enumerate(network.layers):
        try:
            part, after = layer.jacobian(signal), layer.forward(signal)
        except UnsupportedStructure as error:
            raise UnsupportedStructure(f"layers[{i}]: {error}") from None
        if isinstance(layer, Activation) and not any(isinstance(b, Dense) for b in network.layers[:i]):
            warnings.append(f"layers[{i}]: {layer!r} acts on the input itself, taken as Gaussian")
        total = total * expression.curve(part, n_inputs)
        so_far, own = ChainLaw(total), expression.law(part, signal.size)
        if isinstance(layer, Dense):
            gain = own.mean() * signal.size / after.size
        chi = gain if isinstance(layer, Dense) else gain * own.mean()
        rows.append(LayerRow(str(layer), after.size, after.mean_square, after.correlation, chi, so_far.mean(),
                             so_far.var()))
        active.append(layer.active(signal))
        parts.append(part)
        signal = after
    law = expression.law(expression.Product(tuple(parts)), n_inputs)
    dense = [layer.width for layer in network.layers if isinstance(layer, Dense)]
    width = len(dense) / sum(1 / n for n in dense) if dense else float(n_inputs)
    beta = expression.log_norm_variance(expression.Product(tuple(parts)))
    rank = RankDistribution(n_inputs, tuple(active))
    return Prediction(network, law.spectrum, tuple(rows), n_inputs / network.n_outputs * law.mean(),
                      FiniteWidth(regime(len(dense), width, beta, rank.shift), rank), tuple(warnings))
