"""Made-up measurements: arrays (networks, inputs, n_inputs) of ln s, with the rigidity of eigenvalues."""

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
