"""How often `compare` is wrong, over simulated studies: `make calibration` -> docs/calibration.md.

A study is some networks of one kind, measured and compared with the theory that made them (false alarms) and with one
whose weights are a few per cent larger (power). Studies share no network, so that their p-values are independent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

import rmt
from empirical.measure import measure
from empirical.progress import progress
from empirical.workers import workers
from figures import style
from figures.tables import Column, Table

DOCS = Path(__file__).parent.parent / "docs"
KINDS = {  # name: activation, init
    "Gaussian linear": ("linear", rmt.schemes.gaussian(1)),
    "Gaussian ReLU": ("relu", rmt.schemes.kaiming_normal()),
    "orthogonal ReLU": ("relu", rmt.schemes.orthogonal(math.sqrt(2))),
}
CELLS = (  # width, depth, networks, studies
    (50, 1, 80, 40), (50, 2, 12, 200), (50, 5, 80, 40), (50, 20, 4, 200), (100, 1, 12, 200), (100, 2, 12, 400),
    (100, 5, 40, 50), (100, 20, 12, 80), (200, 3, 80, 15), (200, 10, 12, 40), (400, 2, 4, 60), (400, 5, 12, 15),
    (400, 20, 4, 12),
)
ERRORS = (0.0, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05)  # of sigma_w
DRAWN = ((100, 1, 12), (100, 2, 12), (50, 5, 80), (100, 20, 12))  # the power curves
LAW = rmt.FussCatalan(1)
APART, MANY = (0.0, 0.01, 0.03, 0.06), (4, 10, 20, 40)  # true distances, numbers of networks
LEVELS = (0.05, 0.01)
COLUMNS = ("weights", "N", "depth", "networks", "studies", "p < .05", "p < .01", "median p", "differs by p",
           "differs by distance or zeros", "agrees", "called dependent", "p < .01, sigma_w 1 % off", "p < .01, 3 % off")
KNOWN = ("true distance", "networks", "raw discrepancy", "discrepancy", "interval's low end under it",
         "interval's high end over it")


@dataclass(frozen=True)
class Cell:
    """The studies of one kind: p-values (errors, studies); without an error, verdicts, reasons and `dependence`."""

    kind: str
    width: int
    depth: int
    networks: int
    p: np.ndarray
    verdicts: tuple[tuple[str, str, str], ...]

    def row(self) -> tuple[str | int | float, ...]:
        """Return the row of the page."""
        by_p = sum(verdict == "differs" and reason.startswith("p =") for verdict, reason, _ in self.verdicts)
        differs = sum(verdict == "differs" for verdict, _, _ in self.verdicts)
        agrees = sum(verdict == "agrees" for verdict, _, _ in self.verdicts)
        dependent = sum(bool(dependence) for _, _, dependence in self.verdicts)
        n = len(self.verdicts)
        return (self.kind, self.width, self.depth, self.networks, n, *(share(self.p[0] < level) for level in LEVELS),
                f"{np.median(self.p[0]):.2f}", f"{by_p / n:.3f}", f"{(differs - by_p) / n:.3f}", f"{agrees / n:.3f}",
                dependent,
                *(share(self.p[ERRORS.index(error)] < 0.01) for error in (0.01, 0.03)))


def share(hits: np.ndarray) -> str:
    """Return a share of studies with its binomial standard error."""
    return f"{hits.mean():.3f} ± {math.sqrt(max(hits.mean() * (1 - hits.mean()), 0.25 / hits.size) / hits.size):.3f}"


def cell(kind: str, width: int, depth: int, networks: int, studies: int) -> Cell:
    """Simulate the studies of a cell, seed 1."""
    activation, init = KINDS[kind]
    prediction = rmt.predict(rmt.mlp([width] * (depth + 1), activation, init))
    values = measure(prediction.network, draws=networks * studies, seed=1, progress=False).log_singular_values
    p, verdicts = np.empty((len(ERRORS), studies)), []
    for i, study in enumerate(np.split(values, studies)):
        for k, error in enumerate(ERRORS):
            found = rmt.compare(prediction, study + depth * math.log1p(error))  # s scales with sigma_w in every layer
            p[k, i] = found.p_value
            if error == 0:
                verdicts.append((found.verdict, found.reason, found.dependence))
    return Cell(kind, width, depth, networks, p, tuple(verdicts))


def uniformity(cells: list[Cell]) -> str:
    """Draw the ecdf of the p-values under the truth with a simultaneous 95 % band; return a sentence a kind."""
    figure, words = style.figure(9.6, 3.6), []
    figure.subplots_adjust(left=0.07, right=0.985, top=0.86, bottom=0.15, wspace=0.12)
    axes = figure.subplots(1, 3, sharey=True)
    for ax, kind in zip(axes, KINDS, strict=True):
        p = np.sort(np.concatenate([c.p[0] for c in cells if c.kind == kind]))
        reach, u = stats.kstwo.ppf(0.95, p.size), np.linspace(0, 1, 201)
        ax.fill_between(u, u - reach, u + reach, color="#b9b9b9", alpha=0.5, lw=0, label="95 % of right tests inside")
        ax.plot(u, u, color="k", lw=0.8)
        ax.step(np.r_[0, p, 1], np.r_[0, np.arange(1, p.size + 1) / p.size, 1], where="post", color=style.PALETTE[0],
                label="p-values of the truth")
        found = stats.kstest(p, "uniform")
        ax.set_title(f"{kind}, {p.size} studies, seed 1\nN 50 to 400, depth 1 to 20, 4 to 80 networks")
        ax.set_xlabel("p")
        ax.set(xlim=(0, 1), ylim=(0, 1))
        words.append(f"{kind}: {p.size} studies, {np.mean(p < 0.05):.3f} under .05, {np.mean(p < 0.01):.3f} under .01, "
                     f"largest distance from uniform {found.statistic:.3f} (band {reach:.3f}).")
    axes[0].set_ylabel("share of studies with at most this p")
    axes[0].legend(frameon=False, loc="upper left")
    save(figure, "calibration-p")
    return "\n".join(f"- {line}" for line in words)


def power(cells: list[Cell]) -> None:
    """Draw the share of studies with p < .01 against the error of sigma_w."""
    figure = style.figure(9.6, 3.6)
    figure.subplots_adjust(left=0.07, right=0.985, top=0.91, bottom=0.23, wspace=0.12)
    axes = figure.subplots(1, 3, sharey=True)
    for ax, kind in zip(axes, KINDS, strict=True):
        for i, key in enumerate(DRAWN):
            found = [c for c in cells if (c.kind, c.width, c.depth, c.networks) == (kind, *key)]
            if found and np.isfinite(found[0].p).all():
                ax.plot(100 * np.array(ERRORS), np.mean(found[0].p < 0.01, axis=1), style.MARKERS[i] + "-", ms=4,
                        lw=1.2, color=style.PALETTE[i], label="N = {}, depth {}, {} networks".format(*key))
        ax.axhline(0.01, color="k", lw=0.7, ls=":")
        ax.set_title(f"{kind}, {max(c.p.shape[1] for c in cells)} studies or fewer, seed 1")
        ax.set_xlabel("sigma_w too large by (%)")
    axes[0].set_ylabel("share of studies with p < .01")
    figure.legend(*axes[0].get_legend_handles_labels(), frameon=False, loc="lower center", ncols=4)
    save(figure, "calibration-power")


def distances(apart: float, networks: int, studies: int = 60) -> tuple[str | int | float, ...]:
    """Return a row on the discrepancy where the true distance is known, seed 2.

    The eigenvalues of the circular orthogonal ensemble are uniform on the circle at every size, and repel. Their angles
    are taken for levels u of a law, and moved to v with u = v + apart * sin(pi v).
    """
    rng, n = np.random.default_rng(2), 30
    z = rng.normal(size=(networks * studies, n, n)) + 1j * rng.normal(size=(networks * studies, n, n))
    q, r = np.linalg.qr(z)
    q *= (np.diagonal(r, axis1=1, axis2=2) / np.abs(np.diagonal(r, axis1=1, axis2=2)))[:, None, :]
    levels = np.angle(np.linalg.eigvals(q @ np.swapaxes(q, 1, 2))) / (2 * np.pi) + 0.5
    grid = np.linspace(0, 1, 10001)
    values = LAW.spectrum.log.ppf(np.interp(levels, grid + apart * np.sin(np.pi * grid), grid))
    found = [rmt.compare(LAW, study[:, None]) for study in np.split(values, studies)]
    rows = [(a.raw_discrepancy, a.discrepancy, a.interval[0] <= apart, apart <= a.interval[1]) for a in found]
    raw, corrected, over, under = np.array(rows, dtype=float).T
    means = (f"{x.mean():.4f} ± {np.sqrt(np.mean((x - apart) ** 2)):.4f}" for x in (raw, corrected))
    return (apart, networks, *means, f"{over.mean():.2f}", f"{under.mean():.2f}")


def save(figure: style.Figure, name: str) -> None:
    """Write docs/NAME.svg, the same bytes for the same picture."""
    text = style.svg(figure, name)
    (DOCS / f"{name}.svg").write_text(text.replace("<svg ", '<svg style="background:white" ', 1) + "\n")


def main() -> None:
    """Write the page and its pictures."""
    style.use()
    with workers() as pool:
        jobs = [pool.submit(cell, kind, *numbers) for kind in KINDS for numbers in CELLS
                if not (kind == "orthogonal ReLU" and numbers[1] == 1)]  # values 0 and one atom: nothing to test
        others = [pool.submit(distances, apart, networks) for apart in APART for networks in MANY]
        cells = [job.result() for job in progress(jobs, len(jobs), "simulated studies")]
        rows = tuple(job.result() for job in others)
    words = uniformity(cells)
    power(cells)
    table = Table(tuple(Column(name, name) for name in COLUMNS), tuple(c.row() for c in cells))
    known = Table(tuple(Column(name, name) for name in KNOWN), rows)
    (DOCS / "calibration.md").write_text(PAGE.format(words=words, table=table.markdown(), known=known.markdown()))
    print(words)


PAGE = """# How often the verdict is wrong

Made by `make calibration` (eight minutes on two cores, seed 1). Every study is networks built, measured and compared
as a user would, by `empirical.measure` and `rmt.compare`. The p-value is right if it is under u in a share u of the
studies of the true theory.

![p-values under the truth](calibration-p.svg)

{words}

![power](calibration-power.svg)

## Every cell

Shares of studies, with their binomial standard errors. "differs by p": the verdict on the truth because p < .01, wanted
.01 at most. "differs by distance or zeros": the limit law itself is further from networks of that width than the
tolerance allows. That is no false alarm of the test but what a finite width does (deep ReLU chains lose rank);
`finite_width.regime` says so beforehand, and the verdict's reason says that p does not object. One orthogonal ReLU
layer has values 0 and one atom alone: no p. "called dependent": studies whose `Agreement.dependence` says something, of
networks that are independent.

{table}
## The discrepancy where the true distance is known

Sixty studies a row, of spectra of 30 values that are exactly uniform in the mean and repel (circular orthogonal
ensemble). Mean over studies ± root mean square error. The raw discrepancy is biased by the noise of few networks; the
discrepancy has that bias taken off, but for what is left near 0, where no estimate of a largest distance is unbiased:
its interval then begins above the truth, which is why "differs" asks for the tolerance + 1/n.

{known}"""


if __name__ == "__main__":
    main()
