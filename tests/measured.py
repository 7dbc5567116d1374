"""Made-up measurements: arrays (networks, inputs, n_inputs) of ln s, with the rigidity of eigenvalues."""

import itertools
import math

import numpy as np


def rigid(law, networks, n, seed=0, inputs=1):
    """One value in each of n equal parts of the law's non-zero mass: within 1/n of it, as one matrix is."""
    levels = np.random.default_rng(seed).random((networks, inputs, n))
    return law.spectrum.log.ppf((np.arange(n) + levels) / n)


def with_zeros(values, zeros):
    """Network i with `zeros[i]` zeros before its values; rows of one length, filled up with zeros."""
    longest = values.shape[2] + max(zeros)
    out = np.full((*values.shape[:2], longest), -np.inf)
    for row, network, count in zip(out, values, zeros, strict=True):
        row[:, count : count + network.shape[1]] = network
    return out


def jacobians(rng, widths, draws, sigma_w=1.0, slope=1.0, bias_std=0.0, orthogonal=False):
    """J of real networks, (draws, n_L, n_0): `slope` below zero; weights of variance sigma_w^2/fan_in, or Haar."""
    jacobian, h = np.eye(widths[0]), rng.normal(size=(draws, widths[0], 1))
    for n, m in itertools.pairwise(widths):
        w = haar(rng, draws, m, n) if orthogonal else rng.normal(size=(draws, m, n)) / math.sqrt(n)
        h = sigma_w * (w @ h) + bias_std * rng.normal(size=(draws, m, 1))
        d = np.where(h > 0, 1.0, slope)
        jacobian, h = d * (sigma_w * w @ jacobian), d * h
    return jacobian


def haar(rng, draws, m, n):
    """Semi-orthogonal matrices, uniform: (draws, m, n)."""
    q, r = np.linalg.qr(rng.normal(size=(draws, max(m, n), min(m, n))))
    q *= np.sign(np.diagonal(r, axis1=1, axis2=2))[:, None, :]
    return q if m >= n else np.swapaxes(q, 1, 2)
