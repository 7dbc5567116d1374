"""The correlation of two inputs from layer to layer: ordered, critical, chaotic, and the depth scale xi."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import sem

from empirical.two_inputs import TwoInputs
from figures import style
from figures.setting import Setting
from figures.tables import Table, plain
from rmt.networks.meanfield import correlation_fixed_point, critical_point, depth_scales, fixed_point
from rmt.networks.network import mlp
from rmt.networks.predict import predict
from rmt.networks.schemes import gaussian

TITLE = "correlation of two inputs against layer, ordered to chaotic: mean field and networks, and the depth scale"
BIAS = 0.05**0.5
PHASES = {"ordered": 1.1, "critical": None, "chaotic": 2.0}  # sigma_w; None: where chi = 1
STARTS = (0.0, 0.5, 0.95)
DEPTH = 40


def sizes(setting: Setting) -> tuple[int, int]:
    """Return the width and the number of networks."""
    return (300, 20) if setting.small else (1000, 100)


def table(setting: Setting) -> Table:
    """Return the correlation behind every layer: mean field, its limit and depth scale, and networks."""
    width, draws = sizes(setting)
    jobs: list[TwoInputs] = []
    sigmas = [sigma_w or critical_point("tanh", bias_std=BIAS).sigma_w for sigma_w in PHASES.values()]
    for sigma_w in sigmas:
        network = mlp([width] * (DEPTH + 1), "tanh", gaussian(sigma_w), BIAS)
        variance = fixed_point("tanh", sigma_w=sigma_w, bias_std=BIAS).variance
        square = (variance - BIAS**2) / sigma_w**2  # of an input: the variance is at its fixed point from the start
        jobs += [TwoInputs(network, STARTS, square, setting.seed, i, setting.device) for i in range(draws)]
    found = np.array([answer["correlation"] for answer in setting.answers(jobs, "two inputs")])
    rows = []
    for phase, sigma_w, job, measured in zip(PHASES, sigmas, jobs[::draws], np.split(found, len(PHASES)), strict=True):
        key = (phase, sigma_w, correlation_fixed_point("tanh", sigma_w=sigma_w, bias_std=BIAS),
               depth_scales("tanh", sigma_w=sigma_w, bias_std=BIAS).correlation)
        for start, mean, error in zip(STARTS, measured.mean(axis=0).tolist(), sem(measured).tolist(), strict=True):
            theory = [row.correlation for row in predict(job.network, job.mean_square, start).layers[::2]]  # of weights
            rows += [(*key, start, layer, *row) for layer, row in enumerate(zip(theory, mean, error, strict=True), 1)]
    return plain("phase sigma_w limit depth_scale cosine layer mean_field measured standard_error", rows)


def draw(table: Table, setting: Setting) -> Figure:
    """Draw the correlations to the left; to the right, for the start farthest from it, the distance from the limit."""
    width, draws = sizes(setting)
    figure = style.figure(7.2, 3.8)
    left, right = figure.subplots(1, 2)
    figure.subplots_adjust(left=0.08, right=0.98, top=0.81, bottom=0.13, wspace=0.26)
    for phase, color, marker in zip(PHASES, style.PALETTE, style.MARKERS, strict=False):
        sigma_w, limit, scale, start = facts(table, phase)
        for cosine in STARTS:
            mine = [row[5:] for row in table.rows if row[0] == phase and row[4] == cosine]
            layer, theory, mean, error = np.array(mine, dtype=float).T
            left.plot(layer, theory, color=color, lw=1)
            left.errorbar(layer[::3], mean[::3], error[::3], fmt=marker, color=color, ms=3,
                          label=f"{phase}, σ_w = {sigma_w:.3g}" if cosine == start else None)
            if cosine == start:
                right.plot(layer, np.abs(theory - limit), color=color, lw=1)
                right.errorbar(layer[::3], np.abs(mean - limit)[::3], error[::3], fmt=marker, color=color, ms=3)
                decay = np.abs(theory - limit)[-1] * np.exp((layer[-1] - layer) / scale)
                if math.isfinite(scale):
                    right.plot(layer, decay, color=color, lw=1, ls=":", label=f"exp(−layer/ξ), ξ = {scale:.2f}")
    left.set(xlabel="layer", ylabel="correlation (cosine) of two preactivations", ylim=(-0.02, 1.02))
    figure.legend(*left.get_legend_handles_labels(), frameon=False, ncols=3, loc="upper center",
                  bbox_to_anchor=(0.5, 0.91))
    right.set(xlabel="layer", ylabel="|correlation − its limit c*|", yscale="log", ylim=(5e-4, 2))
    right.legend(frameon=False, fontsize=7, loc="lower left")
    figure.suptitle("tanh, Gaussian weights, bias variance .05; lines: mean field (N → ∞), markers: mean ± standard "
                    f"error\nof {draws} networks, N = {width}, seed {setting.seed}", fontsize=8)
    return figure


def facts(table: Table, phase: str) -> tuple[float, float, float, float]:
    """Return a phase's sigma_w, limit and depth scale, and the start that is farthest from the limit."""
    sigma_w, limit, scale = next(map(float, row[1:4]) for row in table.rows if row[0] == phase)
    return sigma_w, limit, scale, max(STARTS, key=lambda start: abs(start - limit))


def reading(table: Table) -> str:
    """Say where each phase goes, and how near the networks are to mean field."""
    said = [f"{phase} to {limit:.3g} with a depth scale of {scale:.3g} layers"
            for phase in PHASES for _, limit, scale, _ in [facts(table, phase)]]
    theory, mean, error = (np.array(table.column(key)) for key in ("mean_field", "measured", "standard_error"))
    return (f"Correlations go: {', '.join(said)}; measured means are within {np.abs(mean - theory).max():.3f} of mean "
            f"field ({np.mean(np.abs(mean - theory) < 2 * error):.0%} within two standard errors).")
