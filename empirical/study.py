"""A study: a TOML file of networks to predict, measure and compare."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import groupby, product
from pathlib import Path
from typing import Any

from empirical.inputs import Data, Inputs, digits, gaussian
from empirical.measure import Task, answers
from empirical.measurement import Measurement, joined
from empirical.progress import progress as progress_bar
from empirical.store import Store
from rmt.checks import choice, integer
from rmt.networks.activations import activation
from rmt.networks.network import Network, mlp
from rmt.networks.predict import Prediction, predict
from rmt.networks.schemes import scheme

INPUTS: dict[str, Callable[[], Inputs]] = {"gaussian": gaussian, "digits": digits}
# Larger is a slip of the pen.
LIMITS = {"depth": 10_000, "matrices": 10_000, "width": 20_000, "draws": 100_000, "bins": 1_000}


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

    @property
    def source(self) -> Inputs:
        """Where the inputs come from."""
        return INPUTS[self.inputs]()

    @property
    def network(self) -> Network:
        """The multilayer perceptron: `depth` layers of `width` on inputs of the data's size (Gaussian: `width`)."""
        source = self.source
        first = source.values.shape[1] if isinstance(source, Data) else self.width
        return mlp([first, *[self.width] * self.depth], self.activation, self.init)

    def predict(self) -> Prediction:
        """Predict from the network and two numbers of the data."""
        source = self.source
        return predict(self.network, source.mean_square, min(1.0, max(-1.0, source.correlation)))

    def tasks(self) -> list[Task]:
        """One task a network."""
        network, source = self.network, self.source
        return [Task(network, repr(network), source, 1, self.seed, i, "cpu", "float64") for i in range(self.draws)]

    def __str__(self) -> str:
        return f"{self.init}, {self.activation}, depth {self.depth}, width {self.width}, {self.inputs} inputs"


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


@dataclass(frozen=True)
class Study:
    """A title, the rows, and the products if there are any."""

    title: str
    rows: tuple[Row, ...]
    products: Products | None

    @property
    def all_rows(self) -> tuple[Row, ...]:
        """Every row that is measured."""
        return self.rows + (self.products.rows if self.products else ())


def load(path: str | Path, seed: int | None = None) -> Study:
    """Read and check a study (with another seed, if given); raise a `StudyError` that names the key."""
    try:
        with open(path, "rb") as file:
            content = tomllib.load(file)
    except FileNotFoundError:
        raise StudyError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise StudyError(f"{path}: not a TOML file: {error}") from None
    try:
        return _study(content if seed is None else {**content, "seed": seed})
    except (ValueError, TypeError) as error:
        raise StudyError(f"{path}: {error}") from None


def _study(content: Mapping[str, Any]) -> Study:
    _known("study", content, ("title", "seed", "draws", "rows", "products"))
    title, seed = content.get("title", "Study"), integer("seed", content.get("seed", 0), 0)
    if not isinstance(title, str):
        raise TypeError(f"title must be a text, got {title!r}")
    tables = content.get("rows", [])
    if not isinstance(tables, list) or not all(isinstance(t, dict) for t in tables):
        raise TypeError("rows must be tables, written [[rows]]")
    draws = _size("draws", content.get("draws", 10))
    rows = tuple(dict.fromkeys(row for table in tables for row in _rows(table, draws, seed)))
    products = _products(content["products"], draws, seed) if "products" in content else None
    if not rows and products is None:
        raise ValueError("a study needs [[rows]] or [products]")
    return Study(title, rows, products)


def _known(place: str, table: Mapping[str, Any], keys: tuple[str, ...]) -> None:
    for key in table:
        choice(f"key in {place}", key, keys)


def _rows(table: Mapping[str, Any], draws: int, seed: int) -> Iterator[Row]:
    _known("[[rows]]", table, ("init", "activation", "depth", "width", "inputs", "draws"))
    for key in ("init", "activation", "depth", "width"):
        if key not in table:
            raise ValueError(f"[[rows]] needs {key}")
    lists = {"inputs": "gaussian", "draws": draws, **table}
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
    for combination in product(*values.values()):
        yield Row(**dict(zip(values, combination, strict=True)), seed=seed)


def _size(key: str, value: object) -> int:
    size = integer(key, value)
    if size > LIMITS[key]:
        raise ValueError(f"{key} must be at most {LIMITS[key]}, got {size}")
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


def run(rows: tuple[Row, ...], store: str | Path, executor: Executor | None = None,
        progress: bool = True) -> Iterator[tuple[Row, Measurement]]:
    """Yield every row with its measurement once all its networks are in; what is stored is not measured again."""
    unique = dict.fromkeys(rows)
    tasks = {row: row.tasks() for row in unique}
    waiting = {row: len(tasks[row]) for row in unique}
    found: dict[Task, Measurement] = {}
    owners: dict[Task, list[Row]] = {}
    for row, own in tasks.items():
        for task in own:
            owners.setdefault(task, []).append(row)
    done = answers(list(owners), executor, Store(store))
    for task, answer in progress_bar(done, len(owners), "measuring networks", progress):
        found[task] = answer
        for row in owners[task]:
            waiting[row] -= 1
            if waiting[row] == 0:
                yield row, joined([found[t] for t in tasks[row]])


def groups(rows: tuple[Row, ...]) -> list[tuple[tuple[str, str], list[Row]]]:
    """Return the rows by (activation, inputs), in order of appearance."""
    order = list(dict.fromkeys((row.activation, row.inputs) for row in rows))
    ranked = sorted(rows, key=lambda row: order.index((row.activation, row.inputs)))
    return [(key, list(part)) for key, part in groupby(ranked, lambda row: (row.activation, row.inputs))]
