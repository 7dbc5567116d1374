"""A study: a TOML file of networks to predict, measure and compare."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from empirical import study_size
from empirical.inputs import Data, Inputs, digits, gaussian
from empirical.measurement import Measurement
from rmt.checks import choice, integer, number
from rmt.networks.activations import activation
from rmt.networks.branch import NORMS, branch_scale
from rmt.networks.meanfield import LARGEST
from rmt.networks.schemes import checked_bias, scheme

if TYPE_CHECKING:  # a file is read, and an error in it found, before torch and the laws are loaded
    from empirical.task import Task
    from rmt.networks.network import Network
    from rmt.networks.predict import Prediction

BLOCKS = ("resnet", "residual_mlp")  # of rmt.networks.zoo
INPUTS: dict[str, Callable[[], Inputs]] = {"gaussian": gaussian, "digits": digits}
# Larger is a slip of the pen.
LIMITS = {"depth": 10_000, "matrices": 10_000, "width": 20_000, "draws": 100_000, "bins": 1_000, "grid": 200}
_HUGE = 1e24  # a variance at which every slope is at its limit


class StudyError(ValueError):
    """A study file that cannot be read; the message names the file, the key and what is allowed."""


@dataclass(frozen=True)
class Row:
    """One network of a study, measured `draws` times."""

    init: str
    activation: str
    depth: int
    width: int
    inputs: str
    draws: int
    seed: int
    bias_std: float = 0.0
    architecture: str = "mlp"
    norm: str = "none"
    scale: float | str = 1.0
    activate_last: bool = True

    @property
    def source(self) -> Inputs:
        """Where the inputs come from."""
        return INPUTS[self.inputs]()

    @property
    def scheme(self) -> str:
        """How weights are drawn, biases where there are any, a linear last layer, and blocks if it is made of them."""
        bias = f", bias_std {self.bias_std!r}" if self.bias_std else ""
        last = "" if self.activate_last else ", last layer linear"
        return self.init + bias + last + (f", {self.blocks}" if self.blocks else "")

    @property
    def blocks(self) -> str:
        """What a residual network's blocks are; empty for a multilayer perceptron."""
        return "" if self.architecture == "mlp" else f"{self.architecture}, norm {self.norm}, scale {self.scale}"

    @property
    def network(self) -> Network:
        """`depth` layers or blocks of `width` on inputs of the data's size (Gaussian: `width`, and no stem)."""
        from rmt.networks import zoo
        from rmt.networks.network import mlp

        source = self.source
        first = math.prod(source.shape) if isinstance(source, Data) else self.width
        if self.architecture == "mlp":
            return mlp([first, *[self.width] * self.depth], self.activation, self.init, self.bias_std,
                       self.activate_last)
        stack = getattr(zoo, self.architecture)
        return stack(self.depth, self.width, self.activation, self.init, self.norm, self.scale,
                     inputs=None if first == self.width else first)

    def predict(self) -> Prediction:
        """Predict from the network and two numbers of the data."""
        from rmt.networks.predict import predict

        source = self.source
        return predict(self.network, source.mean_square, min(1.0, max(-1.0, source.correlation)))

    def tasks(self) -> list[Task]:
        """One task a network."""
        from empirical.task import Task

        network, source = self.network, self.source
        return [Task(network, repr(network), source, 1, self.seed, i, "cpu", "float64") for i in range(self.draws)]

    def __str__(self) -> str:
        return f"{self.scheme}, {self.activation}, depth {self.depth}, width {self.width}, {self.inputs} inputs"


@dataclass(frozen=True)
class Products:
    """Products of square Gaussian matrices with entries of variance 1/width, drawn as histograms of s."""

    matrices: tuple[int, ...]
    width: int
    draws: int
    bins: int
    seed: int

    @property
    def rows(self) -> tuple[Row, ...]:
        """One row a number of matrices."""
        return tuple(Row("gaussian(sigma_w=1.0)", "linear", m, self.width, "gaussian", self.draws, self.seed)
                     for m in self.matrices)


Axis = tuple[float, float, int]  # from, to, how many equally spaced values


def spaced(axis: Axis, count: int | None = None) -> NDArray[np.float64]:
    """Return the values of an axis, or another number of values from end to end."""
    return np.array([float(f"{x:.12g}") for x in np.linspace(*axis[:2], axis[2] if count is None else count)])


@dataclass(frozen=True)
class Phase:
    """A phase diagram: Gaussian networks of every sigma_w and bias_std, some of which are measured.

    `measure` says how many values of sigma_w and of bias_std, from end to end of each axis, are measured together.
    """

    activation: str
    sigma_w: Axis
    bias_std: Axis
    measure: tuple[int, int]
    depth: int
    width: int
    draws: int
    seed: int

    @property
    def points(self) -> tuple[tuple[float, float], ...]:
        """The measured (sigma_w, bias_std)."""
        weights, biases = (spaced(axis, n).tolist() for axis, n in zip((self.sigma_w, self.bias_std), self.measure,
                                                                       strict=True))
        return tuple((w, b) for b in biases for w in weights)

    @property
    def rows(self) -> tuple[Row, ...]:
        """One row a measured point."""
        return tuple(Row(f"gaussian(sigma_w={w!r})", self.activation, self.depth, self.width, "gaussian", self.draws,
                         self.seed, b) for w, b in self.points)

    def log_growth(self, sigma_w: NDArray[np.float64], bias_std: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ln of the predicted gradient growth from inputs of variance 1, a row per bias_std.

        As `predict` has it for one network: the product over layers of sigma_w^2 E phi'^2 at the layer's own variance.
        """
        phi, w, b = activation(self.activation), sigma_w[None, :] ** 2, bias_std[:, None] ** 2
        square, total = np.ones((b.size, w.size)), np.zeros((b.size, w.size))
        for _ in range(self.depth):
            q = np.minimum(w * square + b, _HUGE)
            total += np.log(w * phi.slope_cross(q, 1.0))
            square = phi.cross(q, 1.0)
        return total


@dataclass(frozen=True)
class Section:
    """A part of the page: a title, paragraphs apart by empty lines, and the names of figures."""

    title: str
    text: str
    figures: tuple[str, ...]


@dataclass(frozen=True)
class Study:
    """A title, the rows, and the products, the phase diagram and the sections with figures if there are any.

    Figures are made at `size` with `seed`, of networks on `device`, with CIFAR-10 of the folder `data` at size "paper".
    """

    title: str
    rows: tuple[Row, ...]
    products: Products | None
    phase: Phase | None = None
    sections: tuple[Section, ...] = ()
    seed: int = 0
    size: str = "small"
    device: str = "cpu"
    data: str | None = None

    @property
    def figures(self) -> tuple[str, ...]:
        """The names of all figures."""
        return tuple(name for section in self.sections for name in section.figures)

    @property
    def all_rows(self) -> tuple[Row, ...]:
        """Every row that is measured."""
        return self.rows + (self.products.rows if self.products else ()) + (self.phase.rows if self.phase else ())


def load(path: str | Path, seed: int | None = None) -> Study:
    """Read and check a study (with another seed, if given); raise a `StudyError` that names the key."""
    try:
        content = study_size.content(path)
    except FileNotFoundError:
        raise StudyError(f"{path}: no such file") from None
    except (ValueError, RecursionError) as error:
        raise StudyError(f"{path}: not a TOML file: {error}") from None
    except OSError as error:
        raise StudyError(f"{path}: {error.strerror or error}") from None
    try:
        return _study(content if seed is None else {**content, "seed": seed})
    except (ValueError, TypeError) as error:
        raise StudyError(f"{path}: {error}") from None


def _study(content: Mapping[str, Any]) -> Study:
    _known("study", content, ("title", "seed", "draws", "rows", "products", "phase", "sections", "size", "device",
                              "data"))
    title, seed = _text("title", content.get("title", "Study")), integer("seed", content.get("seed", 0), 0)
    tables = _tables("rows", content)
    study_size.check_rows(tables)
    draws = _size("draws", content.get("draws", 10))
    rows = tuple(dict.fromkeys(row for table in tables for row in _rows(table, draws, seed)))
    products = _products(content["products"], draws, seed) if "products" in content else None
    phase = _phase(content["phase"], draws, seed) if "phase" in content else None
    sections = tuple(_section(table) for table in _tables("sections", content))
    if not rows and products is None and phase is None and not sections:
        raise ValueError("a study needs [[rows]], [products], [phase] or [[sections]]")
    size, device = (_text(key, content.get(key, usual)) for key, usual in (("size", "small"), ("device", "cpu")))
    data = _text("data", content["data"]) if "data" in content else None
    return Study(title, rows, products, phase, sections, seed, size, device, data)


def _text(key: str, value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{key} must be a text, got {value!r}")
    return value


def _tables(key: str, content: Mapping[str, Any]) -> list[dict[str, Any]]:
    tables = content.get(key, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise TypeError(f"{key} must be tables, written [[{key}]]")
    return tables


def _section(table: Mapping[str, Any]) -> Section:
    _known("[[sections]]", table, ("title", "text", "figures"))
    figures = table.get("figures", [])
    if not isinstance(figures, list):
        raise TypeError(f"figures must be a list of names, got {figures!r}")
    return Section(_text("title of [[sections]]", table.get("title", "")), _text("text", table.get("text", "")),
                   tuple(_text("a name in figures", name) for name in figures))


def _known(place: str, table: Mapping[str, Any], keys: tuple[str, ...]) -> None:
    for key in table:
        choice(f"key in {place}", key, keys)


def _rows(table: Mapping[str, Any], draws: int, seed: int) -> Iterator[Row]:
    _known("[[rows]]", table, ("init", "activation", "depth", "width", "inputs", "bias_std", "draws", "architecture",
                               "norm", "scale", "activate_last"))
    for key in ("init", "activation", "depth", "width"):
        if key not in table:
            raise ValueError(f"[[rows]] needs {key}")
    lists = {"inputs": "gaussian", "draws": draws, "bias_std": 0.0, "architecture": "mlp", "norm": "none", "scale": 1.0,
             "activate_last": True, **table}
    values = {key: value if isinstance(value, list) else [value] for key, value in lists.items()}
    for key, value in values.items():
        if not value:
            raise ValueError(f"{key} must not be an empty list")
    for init in values["init"]:
        scheme(init)
    for name in values["activation"]:
        activation(name)
    for name in values["inputs"]:
        choice("inputs", name, INPUTS)
    for key in ("depth", "width", "draws"):
        values[key] = [_size(key, n) for n in values[key]]
    values["bias_std"] = [float(number("bias_std", x, 0, high=LARGEST)) for x in values["bias_std"]]
    for init, bias_std in product(values["init"], values["bias_std"]):
        checked_bias(scheme(init), bias_std)
    for name, allowed in (("architecture", ("mlp", *BLOCKS)), ("norm", NORMS)):
        for value in values[name]:
            choice(name, value, allowed)
    for scale in values["scale"]:
        branch_scale(scale, 1)
    for last in values["activate_last"]:
        if not isinstance(last, bool):
            raise TypeError(f"activate_last must be true or false, got {last!r}")
    blocks = set(values["architecture"]) - {"mlp"}
    if blocks and any(values["bias_std"]):
        raise ValueError(f"bias_std must be 0 with architecture {min(blocks)!r}")
    if blocks and not all(values["activate_last"]):
        raise ValueError(f"activate_last must be true with architecture {min(blocks)!r}, which ends in a sum")
    if "mlp" in values["architecture"] and (values["norm"], values["scale"]) != (["none"], [1.0]):
        raise ValueError(f"norm and scale need an architecture of blocks ({', '.join(BLOCKS)}), got 'mlp'")
    for combination in product(*values.values()):
        yield Row(**dict(zip(values, combination, strict=True)), seed=seed)


def _size(key: str, value: object, low: int = 1, limit: str = "") -> int:
    size, most = integer(key, value, low), LIMITS[limit or key]
    if size > most:
        raise ValueError(f"{key} must be at most {most}, got {size}")
    return size


def _products(table: Any, draws: int, seed: int) -> Products:
    if not isinstance(table, dict):
        raise TypeError("products must be one table, written [products]")
    _known("[products]", table, ("matrices", "width", "draws", "bins"))
    matrices = table.get("matrices", [1, 3, 5])
    if not isinstance(matrices, list) or not matrices:
        raise ValueError(f"matrices must be a list of whole numbers, got {matrices!r}")
    return Products(tuple(_size("matrices", m) for m in matrices), _size("width", table.get("width", 1000)),
                    _size("draws", table.get("draws", draws)), _size("bins", table.get("bins", 50)), seed)


def _phase(table: Any, draws: int, seed: int) -> Phase:
    if not isinstance(table, dict):
        raise TypeError("phase must be one table, written [phase]")
    _known("[phase]", table, ("activation", "sigma_w", "bias_std", "measure", "depth", "width", "draws"))
    for key in ("activation", "sigma_w", "bias_std"):
        if key not in table:
            raise ValueError(f"[phase] needs {key}")
    activation(table["activation"])
    measured = table.get("measure", [5, 4])
    if not isinstance(measured, list) or len(measured) != 2:
        raise ValueError(f"measure must be [how many sigma_w, how many bias_std], got {measured!r}")
    weights, biases = (_size(f"measure[{i}]", n, limit="grid") for i, n in enumerate(measured))
    return Phase(table["activation"], axis("sigma_w", table["sigma_w"], open_low=True),
                 axis("bias_std", table["bias_std"]), (weights, biases), _size("depth", table.get("depth", 10)),
                 _size("width", table.get("width", 200)), _size("draws", table.get("draws", draws), low=2), seed)


def axis(key: str, value: object, *, open_low: bool = False) -> Axis:
    """Return an axis of a phase diagram, given as (low, high, count)."""
    if not isinstance(value, list | tuple) or len(value) != 3:
        raise ValueError(f"{key} must be [low, high, count], got {value!r}")
    low, high = (float(number(f"{key} ({end})", x, 0, open_low=open_low, high=LARGEST))
                 for end, x in zip(("low", "high"), value, strict=False))
    if not low < high:
        raise ValueError(f"{key} must be [low, high, count] with low < high, got {value!r}")
    return low, high, _size(f"{key} (count)", value[2], low=2, limit="grid")


def growth(measurement: Measurement) -> tuple[float, float]:
    """Return ln of the gradient growth, averaged over networks, and the relative standard error of that average.

    The growth of the squared norm of a random gradient, sum s^2 / n_outputs, in logs at any depth; -inf, and no error,
    where every gradient is lost.
    """
    log_growth = np.logaddexp.reduce(2 * measurement.log_singular_values, axis=2) - math.log(measurement.n_outputs)
    top = float(log_growth.max())
    if top == -math.inf:
        return top, 0.0
    each = np.exp(log_growth - top).mean(axis=1)
    mean, n = float(each.mean()), len(each)
    return top + math.log(mean), float(np.std(each, ddof=1)) / math.sqrt(n) / mean if n > 1 else 0.0


def groups(rows: tuple[Row, ...]) -> list[tuple[tuple[str, str], list[Row]]]:
    """Return the rows by (activation, inputs), in order of appearance."""
    order = list(dict.fromkeys((row.activation, row.inputs) for row in rows))
    ranked = sorted(rows, key=lambda row: order.index((row.activation, row.inputs)))
    return [(key, list(part)) for key, part in groupby(ranked, lambda row: (row.activation, row.inputs))]
