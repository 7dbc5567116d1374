"""What `compare` says of networks that this project did not draw, honest or tampered with -> docs/studies.md.

Weights, forward passes and Jacobians are plain numpy here, singular values numpy's own in float64: nothing of
`empirical` is used. Each set of networks is drawn with weights that are 0 to 20 % larger than those the theory is told
of, and handed to `compare` as it is and after each tampering.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import rmt
from figures.tables import Column, Table

DOCS = Path(__file__).parent.parent / "docs"
Array = NDArray[np.float64]

WIDTH, CHANNELS, SIDE, NETWORKS, SETS, TOLERANCE = 80, 12, 4, 20, 4, 0.02
ERRORS = (0.0, 0.03, 0.05, 0.1, 0.2)  # of sigma_w
ZERO = 1e-12  # of the largest value, of networks of a few layers: those of inactive units are 1e-16


# ---- networks ---------------------------------------------------------------------------------------------


def dense(rng: np.random.Generator, sigma_w: float) -> Array:
    """Return normal weights of one layer."""
    return sigma_w * rng.normal(size=(WIDTH, WIDTH)) / math.sqrt(WIDTH)


def circular(rng: np.random.Generator, sigma_w: float) -> Array:
    """Return the matrix of a 3 x 3 convolution on a torus, entry by entry."""
    kernel = sigma_w * rng.normal(size=(CHANNELS, CHANNELS, 3, 3)) / math.sqrt(9 * CHANNELS)
    matrix = np.zeros((CHANNELS, SIDE, SIDE, CHANNELS, SIDE, SIDE))
    for i, j, a, b in product(range(SIDE), range(SIDE), range(3), range(3)):
        matrix[:, i, j, :, (i + a - 1) % SIDE, (j + b - 1) % SIDE] += kernel[:, :, a, b]
    return matrix.reshape(CHANNELS * SIDE**2, CHANNELS * SIDE**2)


def tanh(rng: np.random.Generator, scale: float) -> Array:
    """Return the Jacobian of three tanh layers, sigma_w = 1."""
    h, j = rng.normal(size=WIDTH), np.eye(WIDTH)
    for _ in range(3):
        w = dense(rng, scale)
        h = np.tanh(w @ h)
        j = (1 - h**2)[:, None] * (w @ j)
    return j


def relu(rng: np.random.Generator, scale: float) -> Array:
    """Return the Jacobian of one ReLU layer between linear ones, sigma_w^2 = 2."""
    w, v = dense(rng, math.sqrt(2) * scale), dense(rng, math.sqrt(2) * scale)
    return v @ ((w @ rng.normal(size=WIDTH) > 0)[:, None] * w)


def convolution(rng: np.random.Generator, scale: float) -> Array:
    """Return the Jacobian of two tanh convolutions of 12 channels, sigma_w = 1."""
    h, j = rng.normal(size=CHANNELS * SIDE**2), np.eye(CHANNELS * SIDE**2)
    for _ in range(2):
        w = circular(rng, scale)
        h = np.tanh(w @ h)
        j = (1 - h**2)[:, None] * (w @ j)
    return j


def residual(rng: np.random.Generator, scale: float) -> Array:
    """Return the Jacobian of three blocks x + W tanh(V x) / 2, sigma_w = 1."""
    h, j = rng.normal(size=WIDTH), np.eye(WIDTH)
    for _ in range(3):
        v, w = dense(rng, scale), dense(rng, scale)
        inside = np.tanh(v @ h)
        h, j = h + w @ inside / 2, j + w @ ((1 - inside**2)[:, None] * (v @ j)) / 2
    return j


KINDS: dict[str, tuple[Callable[[np.random.Generator, float], Array], rmt.Network]] = {
    "tanh": (tanh, rmt.mlp([WIDTH] * 4, "tanh", rmt.schemes.gaussian(1))),
    "ReLU": (relu, rmt.mlp([WIDTH] * 3, "relu", "kaiming_normal", activate_last=False)),
    "conv": (convolution, rmt.Network((CHANNELS, SIDE, SIDE), [
        rmt.Conv2d(CHANNELS, 3, padding_mode="circular", init=rmt.schemes.gaussian(1)), rmt.Activation("tanh")] * 2)),
    "residual": (residual, rmt.Network(WIDTH, [rmt.Residual([
        rmt.Dense(WIDTH, rmt.schemes.gaussian(1)), rmt.Activation("tanh"), rmt.Dense(WIDTH, rmt.schemes.gaussian(1))],
        scale=0.5)] * 3)),
}


def drawn(kind: str, error: float, index: int) -> Array:
    """Return ln s of independent networks, (networks, values)."""
    rng = np.random.default_rng([[*KINDS].index(kind), ERRORS.index(error), index])
    s = np.linalg.svd(np.array([KINDS[kind][0](rng, 1 + error) for _ in range(NETWORKS)]), compute_uv=False)
    return np.log(s, where=s > ZERO * s.max(), out=np.full(s.shape, -np.inf))


# ---- tampering --------------------------------------------------------------------------------------------


def pooled(values: Array) -> Array:
    """Return all values in order."""
    return np.sort(values.ravel())


def half(values: Array) -> Array:
    """Return s rounded to half precision, as ln s."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(np.exp(values).astype(np.float16).astype(float)))


def twice(values: Array) -> Array:
    """Return the first half of the networks two times."""
    return np.tile(values[: len(values) // 2], (2, 1))


def noisy(values: Array) -> Array:
    """Return them with noise of 1e-6 in ln s."""
    return twice(values) + 1e-6 * np.random.default_rng(0).normal(size=values.shape)


TAMPERED: dict[str, Callable[[Array], Array]] = {
    "as they are": lambda values: values,
    "pooled, cut in order": lambda values: pooled(values).reshape(values.shape),
    "pooled, dealt out in turn": lambda values: pooled(values).reshape(values.shape[::-1]).T,
    "ten of them, twice": twice,
    "one, twenty times": lambda values: np.repeat(values[:1], len(values), axis=0),
    "ten twice, noise of 1e-6": noisy,
    "k-th values sorted": lambda values: np.sort(np.sort(values, axis=1), axis=0),
    "s in half precision": half,
    "ten twice, half precision": lambda values: half(twice(values)),
}
HONEST = ("as they are", "s in half precision")
HARMLESS = ("k-th values sorted",)  # the values are the same, and networks scatter about as much


# ---- the page ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Study:
    """What was said of one study, and the distance that all networks of its kind and error have together."""

    kind: str
    tampering: str
    error: float
    verdict: str
    noticed: bool
    discrepancy: float
    raw: float
    inside: bool
    truth: float

    @property
    def forged(self) -> bool:
        """Whether it agrees with an estimate over the tolerance."""
        return self.verdict == "agrees" and max(self.discrepancy, self.raw) >= TOLERANCE


def studies(kind: str) -> Iterator[Study]:
    """Yield every study of a kind."""
    prediction = rmt.predict(KINDS[kind][1])
    for error in ERRORS:
        sets = [drawn(kind, error, index) for index in range(SETS)]
        truth = rmt.compare(prediction, np.concatenate(sets)[:, None]).discrepancy
        for values, (name, tamper) in product(sets, TAMPERED.items()):
            found = rmt.compare(prediction, tamper(values)[:, None], TOLERANCE)
            low, high = found.interval
            yield Study(kind, name, error, found.verdict, bool(found.dependence), found.discrepancy,
                        found.raw_discrepancy, low <= found.discrepancy <= high, truth)


def table(found: list[Study]) -> Table:
    """Return a row per kind and tampering: agrees/undecided/differs of the right theory, and of wrong ones."""
    groups = {"right": ERRORS[:1], "3 and 5 % off": ERRORS[1:3], "10 and 20 % off": ERRORS[3:]}
    names = ("networks", "what was done to them", *groups, "noticed", "of", "agrees, over the tolerance")
    rows = []
    for kind, tampering in product(KINDS, TAMPERED):
        mine = [study for study in found if (study.kind, study.tampering) == (kind, tampering)]
        counts = ["/".join(str(sum(study.verdict == verdict and study.error in errors for study in mine))
                           for verdict in ("agrees", "undecided", "differs")) for errors in groups.values()]
        rows.append((kind, tampering, *counts, sum(study.noticed for study in mine), len(mine),
                     sum(study.forged for study in mine)))
    return Table(tuple(Column(name, name) for name in names), tuple(rows))


def words(found: list[Study]) -> str:
    """Return the sums in sentences."""
    honest = [study for study in found if study.tampering in HONEST]
    tampered = [study for study in found if study.tampering not in HONEST + HARMLESS]
    agrees = [study for study in found if study.verdict == "agrees"]
    truths = {(study.kind, study.error): study.truth for study in found}
    off = [study for study in agrees if study.truth >= TOLERANCE]
    lines = [
        f"{len(found)} studies: {sum(study.forged for study in found)} agree with a discrepancy, or a raw one, of "
        f"{TOLERANCE:g} or more; the discrepancy lies inside its interval in {sum(study.inside for study in found)}.",
        f"One network counted as many, or values pooled: {len(tampered)}, noticed and named "
        f"{sum(study.noticed for study in tampered)}. "
        f"Independent: {len(honest)}, called dependent {sum(study.noticed for study in honest)}.",
        f"All {SETS * NETWORKS} networks of a kind together are {TOLERANCE:g} or more apart from the law for "
        f"{sum(truth >= TOLERANCE for truth in truths.values())} of {len(truths)} pairs of kind and error; "
        f"{len(off)} studies of those agree.",
    ]
    return "\n".join(f"- {line}" for line in lines)


def main() -> None:
    """Write the page."""
    found = [study for kind in KINDS for study in studies(kind)]
    text = words(found)
    (DOCS / "studies.md").write_text(PAGE.format(words=text, table=table(found).markdown(), networks=NETWORKS,
                                                 sets=SETS))
    print(table(found).text() + "\n" + text)


PAGE = """# Networks drawn by others, honest and tampered with

Made by `make studies` (some minutes on one core, fixed seeds). Networks are drawn, differentiated and decomposed in
plain numpy (`benchmarks/studies.py`): three tanh layers of 80, one ReLU layer of 80 between linear ones, two tanh
convolutions of 12 channels on a 4 x 4 torus, three residual blocks of 80. A study is {networks} networks; of each kind
and error of sigma_w there are {sets} sets, and each is compared as it is and after every tampering.

{words}

Counts are agrees/undecided/differs. "noticed": `Agreement.dependence` says why the networks cannot be independent; the
verdict is then undecided. Sorting the k-th values over networks leaves all values, and about the scatter of networks,
as they are, and is not noticed. "agrees, over the tolerance": agrees, with a discrepancy or a raw discrepancy of .02 or
more.

{table}"""


if __name__ == "__main__":
    main()
