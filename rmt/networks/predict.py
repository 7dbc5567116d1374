"""From a network to the law of its Jacobian: the Prediction."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, groupby

import numpy as np

from rmt.checks import Number, number, positive
from rmt.finite.chain import Chain
from rmt.finite.rank import RankDistribution
from rmt.finite.regime import regime
from rmt.laws.views import Spectrum
from rmt.networks import expression
from rmt.networks.finite_width import FiniteWidth
from rmt.networks.layers import Activation, Layer, UnsupportedStructure
from rmt.networks.network import Network
from rmt.networks.normalization import BatchNorm, LayerNorm, RMSNorm
from rmt.networks.sequence import Step, append, every, steps
from rmt.networks.signal import Border, Signal
from rmt.networks.verdict import Verdict, verdict

_BORDER = 1e-3  # of the mean of x: less is not worth a warning
_NARROW = 10  # entries of the narrowest signal, under which the law is not that of networks
_OFF = 0.2, 0.5  # times 1/(width + 1): what simulated cdfs are off by, from linear layers to ReLU
_LONGEST, _SHORTEST = 44, 20  # letters of the name of a layer in the table; on a narrow terminal
_MANY = 1000  # inputs, whose directions make a variance over them a number


@dataclass(frozen=True)
class LayerRow:
    """What the mean field says after one layer.

    `variance` and `correlation` are the signal's after the layer (a Dense layer's: the preactivation's), `chi` is
    sigma_w^2 E phi'^2 with the weights that came last, `mean` and `law_variance` are of the law of x = s^2 so far
    (the variance with residual blocks taken as free of each other).
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
    input_variance : float
        Mean square of an input entry.
    """

    network: Network
    spectrum: Spectrum
    layers: tuple[LayerRow, ...]
    finite_width: FiniteWidth
    warnings: tuple[str, ...]
    input_variance: float = 1.0

    @property
    def input_scale_matters(self) -> bool:
        """Whether inputs of another variance have another law: slopes that depend on more than a sign, or a norm."""
        layers = [*every(self.network.layers)]
        return any(isinstance(layer, BatchNorm | LayerNorm | RMSNorm) for layer in layers) or not all(
            layer.phi.by_sign for layer in layers if isinstance(layer, Activation))

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

    @cached_property
    def verdict(self) -> Verdict:
        """Vanishing, exploding, ill-conditioned, isometric or balanced, and the figures that say so."""
        network = self.network
        least = min(map(math.prod, network.shapes))  # directions that the shape keeps
        growth = self.log_gradient_growth + math.log(network.n_outputs / least)
        return verdict(self.spectrum, growth, _weights(network.layers), network.n_inputs, least)

    def table(self, columns: int | None = None) -> str:
        """Return the rows per layer as text; in so many columns where names can be cut that short."""
        numbers = [("width", "variance", "corr.", "chi", "mean x", "var x")] + [
            (f"{r.width}", f"{r.variance:.4g}", f"{r.correlation:.4f}", f"{r.chi:.4f}", f"{r.mean:.4g}",
             f"{r.law_variance:.4g}") for r in self.layers]
        sizes = [max(map(len, column)) for column in zip(*numbers, strict=True)]
        room = _LONGEST if columns is None else max(_SHORTEST, columns - sum(sizes) - 2 * len(sizes))
        names = ["layer"] + [r.layer if len(r.layer) <= room else r.layer[: room - 1] + "…" for r in self.layers]
        longest = max(map(len, names))
        cells = ["".join(f"  {text:>{size}}" for text, size in zip(row, sizes, strict=True)) for row in numbers]
        return "\n".join(f"{name:{longest}}{row}" for name, row in zip(names, cells, strict=True))


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
        Whether dropout acts; batch normalization, which then couples the samples of a batch, is refused.

    Raises
    ------
    UnsupportedStructure
        Where the theory does not cover a layer; it names the layer and what to use instead.
    """
    if not isinstance(network, Network):
        raise TypeError(f"network must be an rmt.Network, got {network!r}")
    q, rho = float(positive("input_variance", input_variance)), float(
        number("input_correlation", input_correlation, -1, high=1))
    signal = Signal(network.input_shape, 0.0, q, rho, gaussian=True, stream=q)
    acting: list[Layer] = []
    for layer, run in groupby(network.layers):
        acting += [_acting(len(acting), layer, training)] * len([*run])
    n_inputs, chi = network.n_inputs, 1.0
    factors: list[expression.Expression] = []
    sums = [np.zeros(2)]  # of ln 1/S of the factors so far at w = 0, to first order: mean and variance of the law
    rows: list[LayerRow] = []
    widths: list[int] = []
    notes: dict[str, tuple[float, list[str]]] = {}
    log_mean, spread = 0.0, 0.0
    padded = any(layer.padded for layer, _ in groupby(acting))
    border = Border(*np.ones((2, *network.input_shape[1:])))
    last: Step | None = None
    own, new = np.zeros(2), np.zeros(2)
    for i, (layer, step) in enumerate(zip(network.layers, steps(acting, signal), strict=True)):
        place, again = f"layers[{i}]", last is not None and step.part is last.part  # of thousands of equal blocks
        if not again:
            name, said = str(layer), [*step.layer.warnings(step.before)]
        for note, value in said:
            most, places = notes.get(note, (0.0, []))
            notes[note] = max(most, value), [*places, place] if place not in places else places
        if layer.mixes:
            chi = 1.0
            widths.append(step.after.size)
        elif not widths and isinstance(step.part, expression.Diagonal):
            notes[f"{layer} acts on the input itself, taken as Gaussian"] = 0.0, [place]
        border = step.layer.border(border, step.before, step.after) if padded else border
        if not again:
            own = expression.log_inverse_s(step.part, step.before.size)
            new = expression.log_inverse_s(step.part, n_inputs)
        chi *= math.exp(float(own[0])) * step.before.size / step.after.size
        kept, end = len(factors), factors[-1:]
        append(factors, step.part)
        kept -= bool(end and factors[kept - 1] is not end[0])
        del sums[kept + 1 :]
        if factors[kept:] == [step.part]:
            sums.append(sums[-1] + new)
        else:  # two diagonals became one, or a number went before one
            sums += accumulate((expression.log_inverse_s(factor, n_inputs) for factor in factors[kept:]),
                               initial=sums.pop())
        last = step
        log_mean, spread = map(float, sums[-1])
        rows.append(LayerRow(name, step.after.size, step.after.mean_square, step.after.correlation, chi,
                             _exp(log_mean), _exp(2 * log_mean) * spread if spread else 0.0))
    warnings = [f"{_listed(places)}: {note.format(value)}" for note, (value, places) in notes.items()]
    warnings += _left_out(network, factors, float(border.gain.mean()), min([n_inputs, *widths]))
    by_sign = all(layer.phi.by_sign for layer in network.layers if isinstance(layer, Activation))
    jacobian = expression.Product(tuple(factors))
    rank = RankDistribution(n_inputs, expression.units(factors), by_sign, expression.singular(factors))
    harmonic = len(widths) / sum(1 / n for n in widths) if widths else float(n_inputs)
    found = regime(len(widths), harmonic, expression.log_norm_variance(jacobian), rank.shift)
    norm = expression.log_norm(jacobian, log_mean)
    spectrum, chain = expression.law(jacobian, n_inputs).spectrum, expression.chain(jacobian, n_inputs)
    width = FiniteWidth(spectrum, found, rank, norm, chain if by_sign else None)
    return Prediction(network, spectrum, tuple(rows), width, tuple(warnings), q)


def _left_out(network: Network, factors: list[expression.Expression], loss: float, least: int) -> Iterator[str]:
    """Yield what the theory leaves out of the network as a whole.

    `loss` is what a border leaves of the mean of x, `least` the least width.
    """
    if least < _NARROW:
        low, high = (most / (least + 1) for most in _OFF)
        yield (f"a width of {least}: the cdf of networks, averaged over many, is some {low:.2g} to {high:.2g} from the "
               "law, which is that of infinite width")
    if any(isinstance(layer, BatchNorm) for layer in every(network.layers)) and network.n_inputs < _MANY:
        yield ("BatchNorm: a channel's variance over inputs has a relative standard deviation of at least "
               f"{math.sqrt(2 / network.n_inputs):.2g}, sqrt(2/d) with the d <= {network.n_inputs} directions in which "
               "inputs differ; the law takes its mean")
    if expression.taken_as_free(factors):
        yield ("residual branches begin with masks and slopes of one stream, which the law takes as free of each "
               "other; it may be off by some hundredths")
    if abs(loss - 1) > _BORDER:
        yield (f"zero padding: the border makes the mean of x {loss:.3g} of the law's (ln s moves by "
               f"{math.log(loss) / 2:+.2g}), which is that of padding_mode='circular'")


def _acting(i: int, layer: Layer, training: bool) -> Layer:
    """Return the layer that acts in this mode."""
    try:
        return layer.trained() if training else layer.evaluated()
    except UnsupportedStructure as error:
        raise UnsupportedStructure(f"layers[{i}]: {error}") from None


def _weights(layers: Sequence[Layer]) -> int:
    """Return the number of layers with weights, those inside blocks among them."""
    return sum(_weights(layer.inside) if layer.inside else int(layer.mixes) for layer in layers)


def _listed(places: list[str]) -> str:
    return ", ".join(places if len(places) < 4 else [*places[:2], f"{len(places) - 2} more"])


def _exp(log: float) -> float:
    """Return e^log, inf where it is above every float (the law itself lives in logs)."""
    try:
        return math.exp(log)
    except OverflowError:
        return math.inf
