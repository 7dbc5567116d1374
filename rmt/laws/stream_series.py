"""The moments of a stack of residual blocks on one stream: its equations (`stream_psi`) as power series in zeta."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rmt.laws import series

Array = NDArray[np.float64]


def moments(log_inverse_s: Sequence[Array], first: Array, middle: Array, last: Array, weights: Array, n: int) -> Array:
    """Return E X^k, k = 1..n: the coefficients of psi, of which each round of the equations settles one more.

    `log_inverse_s` are the branches' series; d_0^2, d_l^2 as (L, kinds), f^2 and the weights as in `StreamPsi`.
    """
    size, one = n + 1, _unit(n + 1)
    responses = [series.r_diagonal_cumulants(branch) for branch in log_inverse_s]
    alpha, beta = np.zeros((2, len(middle), size))
    back = np.zeros((len(middle) + 1, weights.size, size))  # y/x, from the output
    ahead = np.zeros_like(back)  # x/y, from the input
    back[-1, :, 1], ahead[0, :, 0] = last, first
    for _ in range(4 * n + 20):
        before = back[0].copy()
        for i, d in reversed(list(enumerate(middle))):
            at_output, response = _met(responses[i], d, weights, ahead[i : i + 2], back[i : i + 2])[1:]
            alpha[i] = _times(at_output, response)
            through = _times(back[i + 1], _inverse(one - _times(beta[i], back[i + 1])))
            back[i] = d[:, None] * alpha[i] + through
        for i, d in enumerate(middle):
            at_input, _, response = _met(responses[i], d, weights, ahead[i : i + 2], back[i : i + 2])
            beta[i] = _times(at_input, response)
            ahead[i + 1] = _times(ahead[i], _inverse(one - d[:, None] * _times(ahead[i], alpha[i]))) + beta[i]
        if np.allclose(back[0], before, rtol=1e-14, atol=0):
            break
    psi = weights @ (_inverse(one - first[:, None] * back[0]) - one)
    return np.asarray(psi[1:])


def _met(response: Array, d: Array, weights: Array, ahead: Array, back: Array) -> tuple[Array, Array, Array]:
    """Return the mean responses at a branch's input and output, and r of their product."""
    one = _unit(ahead.shape[-1])
    at_input = (weights * d) @ _times(ahead[0], _inverse(one - _times(ahead[0], back[0])))
    at_output = weights @ _times(back[1], _inverse(one - _times(ahead[1], back[1])))
    total, power, both = np.zeros_like(one), one, _times(at_input, at_output)
    for cumulant in response:
        total, power = total + cumulant * power, _times(power, both)
    return at_input, at_output, total


def _unit(size: int) -> Array:
    return np.eye(1, size)[0]


def _times(a: Array, b: Array) -> Array:
    """Return the product of power series, along the last axis."""
    return np.stack([(a[..., : k + 1] * b[..., k::-1]).sum(-1) for k in range(a.shape[-1])], axis=-1)


def _inverse(a: Array) -> Array:
    """Return 1/a of power series, a_0 not 0."""
    found = np.zeros_like(a)
    found[..., 0] = 1 / a[..., 0]
    for k in range(1, a.shape[-1]):
        found[..., k] = -(a[..., 1 : k + 1] * found[..., k - 1 :: -1][..., :k]).sum(-1) / a[..., 0]
    return found
