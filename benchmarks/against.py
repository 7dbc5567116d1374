"""`rmt` and its peers on the same laws at the same points, judged by `benchmarks.reference`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import mpmath as mp
import numpy as np

from benchmarks.reference import Arcsine, DiscretePlusSemicircle, FreeLevy, FussCatalan, Product, marchenko_pastur
from benchmarks.reference_tracy_widom import TracyWidom
from figures.tables import Column, Table

HERE = Path(__file__).parent
PEERS = {"rmtool": "rmtool==1.0.0", "freealg": "freealg==0.12.2", "scikit-rmt": "scikit-rmt==2.1.1"}
METHODS = ("pdf", "cdf", "ppf")
POINTS, JUDGED = 1000, 9  # timed at all of them, judged at every ninth
WRONG = 1e-4  # a peer this far off, anywhere in a row, does not count there
EVEN = 1e-14, 0.9  # nobody is more accurate where our error is under the first, or theirs over the second of ours

WORDS = """MP is Marchenko-Pastur, FC(L) Fuss-Catalan of depth L, {1, 3} and coin have two values of weight 1/2 each (a
coin's are -1 and 1), `*` and `+` are free; "ln" is the law of ln x. "-" is what a package does not have, "inf" a value
that is not a number, a word what was raised. A package that only has the answer by name (freealg: the arcsine law
for coin + coin) has no entry for the sum.
"""

ONE, HALF = Fraction(1), Fraction(1, 2)
REFERENCES: dict[str, Any] = {
    "MP(.5)": marchenko_pastur(HALF),
    "MP(1)": marchenko_pastur(ONE),
    "MP(2)": marchenko_pastur(Fraction(2)),
    "semicircle": FreeLevy(signed=True, variance=1),
    **{f"FC({n})": FussCatalan(n) for n in (2, 5, 10, 20, 50)},
    "ln FC(500)": FussCatalan(500, log=True),
    "MP(.5) * MP(.25)": Product(factors=((ONE, 1), (HALF, 1), (HALF**2, 1))),
    "MP(.5) * MP(2) * Bernoulli(.5)": Product(atom=0.5, scale=HALF, factors=((HALF, 1), (2 * ONE, 2))),
    "MP(.5) * {1, 3}": FreeLevy(jumps=((HALF**2, ONE), (HALF**2, 3 * ONE)), part=HALF),
    "MP(1) + semicircle": FreeLevy(signed=True, jumps=((ONE, ONE),), variance=1),
    "coin + semicircle": DiscretePlusSemicircle(signed=True, points=((-1, HALF), (1, HALF))),
    "coin + coin": Arcsine(),
    **{f"Tracy-Widom {beta}": TracyWidom(beta) for beta in (1, 2, 4)},
}


@dataclass(frozen=True)
class Truth:
    """For each method the points of a law, and its exact values at every ninth."""

    signed: bool
    points: dict[str, np.ndarray]
    exact: dict[str, list[Any]]


@dataclass
class Found:
    """What one package did in one row: seconds, errors, or a word for why not."""

    seconds: float = float("nan")
    largest: float = float("nan")
    mean: float = float("nan")
    word: str = ""

    @property
    def right(self) -> bool:
        return not self.word and self.largest <= WRONG


@dataclass
class Results:
    """{(law, method or "build"): {package: Found}}, and what could not be installed."""

    rows: dict[tuple[str, str], dict[str, Found]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def truth(law: Any) -> Truth:
    """Return points with cdf from 1e-6 to 1 - 1e-6 of the continuous part, even in the logit; an atom at zero first."""
    logits = np.linspace(-np.log(1e6), np.log(1e6), POINTS)
    q = law.atom + (1 - law.atom) / (1 + np.exp(-logits))
    quantiles = [law.quantile(v) for v in q[::JUDGED]]
    knots = np.array([float(x) for x in quantiles])
    every = np.arange(POINTS)
    x = np.interp(every, every[::JUDGED], knots if law.signed else np.log(knots))
    x = x if law.signed else np.exp(x)
    x[::JUDGED] = knots
    pairs = [law.values(v) for v in knots]
    points = {"pdf": x, "cdf": x.copy(), "ppf": q}
    exact = {"pdf": [a for a, _ in pairs], "cdf": [b for _, b in pairs], "ppf": quantiles}
    if law.atom:
        points["cdf"][0], exact["cdf"][0], points["ppf"][0], exact["ppf"][0] = 0.0, law.atom, law.atom / 2, mp.mpf(0)
    return Truth(law.signed, points, exact)


def errors(values: list[float], method: str, truth: Truth) -> tuple[float, float]:
    """Return the largest and the mean error: relative; of a cdf, and of a quantile that may be near zero, absolute."""
    with mp.workdps(30):
        found = []
        for value, exact in zip(values[::JUDGED], truth.exact[method], strict=True):
            scale = 1 if method == "cdf" or (method == "ppf" and truth.signed) or not exact else exact
            found.append(float(abs((mp.mpf(value) - exact) / scale)) if np.isfinite(value) else float("inf"))
    return max(found), float(np.mean(found))


def compare(repeats: int = 5) -> Results:
    """Ask every package for every law.

    Parameters
    ----------
    repeats : int
        Runs, of which the shortest counts.
    """
    truths = {name: truth(law) for name, law in REFERENCES.items()}
    asked = {name: {method: x.tolist() for method, x in t.points.items()} for name, t in truths.items()}
    request = {"repeats": repeats, "laws": asked}
    results = Results()
    for package in ("rmt", *PEERS) * 2:  # a second time, for a machine is not as fast at every time
        try:
            answers = _ask(package, _python(package), request)
        except (subprocess.CalledProcessError, OSError) as error:
            if package == "rmt":
                raise
            lines = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
            results.missing[package] = f"not installable here: {lines[-1]}"
            continue
        for law, answer in answers.items():
            for method, found in _judged(answer, truths[law]):
                row = results.rows.setdefault((law, method), {})
                if package not in row or found.seconds < row[package].seconds:
                    row[package] = found
    return results


def _judged(answer: dict[str, Any], truth: Truth) -> Iterator[tuple[str, Found]]:
    if "error" in answer:
        yield "pdf", Found(word=answer["error"])
        return
    found = {}
    for method in METHODS:
        if method in answer:
            got = answer[method]
            found[method] = (Found(word=got["error"]) if "error" in got else
                             Found(got["seconds"], *errors(got["values"], method, truth)))
    density = found["pdf"]
    yield from found.items()
    yield "build", Found(answer["build"], density.largest, density.mean, density.word)


def _python(package: str) -> str:
    """Return the interpreter that has a package, in an environment of its own that is made when first asked for."""
    if package == "rmt":
        return sys.executable
    home = HERE.parent / "out" / "peers" / package
    python = home / "bin" / "python"
    if not (home / "done").exists():
        venv.create(home, clear=True, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", PEERS[package]], check=True, capture_output=True,
                       text=True)
        (home / "done").touch()
    return str(python)


def _ask(package: str, python: str, request: dict[str, Any]) -> dict[str, Any]:
    script = HERE / "peers" / f"ask_{package.replace('-', '_')}.py"
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    with tempfile.TemporaryDirectory() as folder:
        asked, answered = Path(folder, "request.json"), Path(folder, "answer.json")
        asked.write_text(json.dumps(request))
        subprocess.run([python, script, asked, answered], check=True, env={**os.environ, **single},
                       capture_output=True, text=True)
        return dict(json.loads(answered.read_text()))


# ---- tables ---------------------------------------------------------------------------------------------


def speed(results: Results, method: str, unit: float) -> str:
    """Return a Markdown table of one method: time over the unit and largest error of each; how we stand."""
    def cell(found: Found) -> str:
        ratio = f"{found.seconds / unit:.2g}"
        if not found.right:
            return f"wrong ({found.largest:.0e})"
        return ratio if method == "build" else f"{ratio} ({found.largest:.0e})"

    return _table(results, method, cell, standing if method != "build" else lambda found: standing(found, judge=False))


def accuracy(results: Results, method: str) -> str:
    """Return a Markdown table of one method: largest and mean error of each."""
    return _table(results, method, lambda found: f"{found.largest:.0e}, {found.mean:.0e}")


def _table(results: Results, method: str, cell: Callable[[Found], str],
           verdict: Callable[[dict[str, Found]], str] | None = None) -> str:
    packages = [p for p in ("rmt", *PEERS) if p not in results.missing]
    rows = []
    for (law, done), found in results.rows.items():
        if done == method:
            cells = [(found[p].word or cell(found[p])) if p in found else "-" for p in packages]
            rows.append((law, *cells, *([verdict(found)] if verdict else [])))
    titles = ["law", *packages, *(["rmt against them"] if verdict else [])]
    return Table(tuple(Column(t, t) for t in titles), tuple(rows)).markdown()


def standing(found: dict[str, Found], judge: bool = True) -> str:
    """Return our time over that of the fastest peer that is right, and who is more accurate."""
    ours = found.get("rmt", Found(word="-"))
    right = {p: f for p, f in found.items() if p != "rmt" and f.right}
    if not right or ours.word:
        return "alone" if not ours.word else ""
    ratio = ours.seconds / min(f.seconds for f in right.values())
    better = [p for p, f in right.items() if f.largest < EVEN[1] * ours.largest and ours.largest > EVEN[0]]
    words = ("" if ours.right else "WRONG; ") + f"{ratio:.2g} x" + (" SLOWER" if ratio > 1.5 else "")
    return words + (f"; {', '.join(better)} MORE ACCURATE" if judge and better else "")


def notes(results: Results) -> str:
    """Return what could not be installed, a line each."""
    return "".join(f"- {PEERS[package]}: {reason}\n" for package, reason in results.missing.items())
