"""How the correlation of two inputs changes from layer to layer of a network drawn at random."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from empirical.kept import Arrays
from empirical.modules import build
from rmt.networks.layers import Dense
from rmt.networks.network import Network


@dataclass(frozen=True)
class TwoInputs:
    """Pairs of inputs of given cosines and mean square on their way through network number `index` of a seed.

    The answer is `correlation` (pairs, layers): the cosine of the preactivations behind every layer of weights.
    """

    network: Network
    cosines: tuple[float, ...]
    mean_square: float
    seed: int
    index: int
    device: str = "cpu"

    def run(self, partial: Path | None) -> Arrays:
        """Draw the network and two directions, and let all pairs through."""
        weights, data = np.random.SeedSequence(self.seed, spawn_key=(self.index,)).spawn(2)
        module = build(self.network, int(weights.generate_state(1)[0]), self.device)
        n, cosine = self.network.n_inputs, np.array(self.cosines)[:, None]
        axes = np.linalg.qr(np.random.default_rng(data).standard_normal((n, 2)))[0].T * (n * self.mean_square) ** 0.5
        pairs = np.stack([np.tile(axes[0], (len(cosine), 1)), cosine * axes[0] + np.sqrt(1 - cosine**2) * axes[1]])
        signal, found = torch.as_tensor(pairs, device=self.device), []
        with torch.no_grad():
            for layer, part in zip(self.network.layers, module, strict=True):
                signal = part(signal)
                if isinstance(layer, Dense):
                    found.append(torch.cosine_similarity(signal[0], signal[1], dim=-1).cpu().numpy())
        return {"correlation": np.stack(found, axis=1)}
