"""One network to measure: all that a worker needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from empirical.as_found import as_found
from empirical.calibration import calibrated, untrained
from empirical.checks import check_module
from empirical.copies import copied
from empirical.fingerprint import of_module
from empirical.inputs import Inputs
from empirical.jacobian import random_state
from empirical.measurement import Measurement
from empirical.modules import build, torch_dtype
from empirical.singular_values import as_it_is
from empirical.threads import one_blas_thread
from empirical.underflow import in_forward
from empirical.unwrapped import as_written
from rmt.networks.network import Network

CALIBRATION = 2048  # inputs, or the whole data set if that is smaller

Factory = Callable[[], nn.Module]


class _Drawn(NamedTuple):
    module: nn.Module
    x: torch.Tensor
    calibrated: int
    single: bool  # whether it came in single precision


@dataclass(frozen=True)
class Task:
    """One network to measure, and whatever decides the result."""

    source: Network | Factory
    label: str
    inputs: Inputs
    inputs_per_network: int
    seed: int
    index: int
    device: str
    dtype: str
    fingerprint: str = ""  # of what the label does not say

    @property
    def question(self) -> dict[str, Any]:
        """What is asked: the name under which the answer is stored."""
        unsaid = {"fingerprint": self.fingerprint} if self.fingerprint else {}
        return {"label": self.label, "inputs": repr(self.inputs), "inputs_per_network": self.inputs_per_network,
                "seed": self.seed, "index": self.index, "device": self.device, "dtype": self.dtype, **unsaid}

    @property
    def module_seed(self) -> int:
        """The seed of its weights, as `empirical.build` takes it."""
        return int(self._seeds()[0].generate_state(1, np.uint64)[0] >> 1)

    def fingerprints(self, seed: int) -> tuple[str, str]:
        """Return digests of two modules of one seed, which are the same if torch's seed decides all of them."""
        with one_blas_thread():
            one, two = (of_module(module, shape, torch_dtype(self.dtype), self.device)
                        for module, shape, _ in (self.module(seed), self.module(seed)))
        return one, two

    def _seeds(self) -> list[np.random.SeedSequence]:
        return np.random.SeedSequence(self.seed, spawn_key=(self.index,)).spawn(3)

    def run(self) -> Measurement:
        """Build the network, draw its inputs and measure it, on one BLAS thread."""
        with one_blas_thread():
            module, x, count, single = self._drawn()
            own = _own_forward(module, x) if single and self.dtype == "float64" else ""
            with torch.random.fork_rng([x.device] if x.is_cuda else []):  # what the module itself draws, too
                torch.manual_seed(self.module_seed)
                values, resolution, *_ = as_it_is(module, x)
                before = random_state(x.device)
                with torch.no_grad(), as_written():
                    n_outputs = module(x[:1]).numel()
                random = not torch.equal(before, random_state(x.device))
        return replace(self.answer(values, resolution, n_outputs, count, random), underflow=own)

    def drawn(self) -> tuple[nn.Module, torch.Tensor, int]:
        """Return the module, its inputs, and how many more inputs its batch normalizations were calibrated on."""
        return self._drawn()[:3]

    def _drawn(self) -> _Drawn:
        _, data, statistics = self._seeds()
        module, shape, single = self.module(self.module_seed)
        x = self._tensor(self.inputs.draw(self.inputs_per_network, shape, np.random.default_rng(data)))
        count = self.inputs.most(CALIBRATION) if any(untrained(module)) else 0
        if count:
            many = self.inputs.draw(count, shape, np.random.default_rng(statistics))
            module = calibrated(module, self._tensor(many))
        return _Drawn(module, x, count, single)

    def answer(self, values: NDArray[np.float64], resolution: NDArray[np.float64], n_outputs: int,
               count: int = 0, random: bool = False) -> Measurement:
        """Return the values (inputs, n_inputs) and resolutions (inputs) with their provenance."""
        return Measurement(values[None], resolution[None], n_outputs, self.label, repr(self.inputs), self.seed,
                           self.device, self.dtype, count, random, fingerprint=self.fingerprint)

    def _tensor(self, x: NDArray[np.float64]) -> torch.Tensor:
        return torch.as_tensor(x, dtype=torch_dtype(self.dtype), device=self.device)

    def module(self, seed: int) -> tuple[nn.Module, tuple[int, ...], bool]:
        """Return the module of a seed, the shape of its inputs, and whether it came in single precision."""
        if isinstance(self.source, Network):
            return build(self.source, seed, self.device, self.dtype), self.source.input_shape, False
        shape = self.inputs.shape
        if shape is None:
            raise ValueError("a factory of modules needs inputs with a shape: empirical.inputs.array(x) or digits()")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = self.source()
            check_module(module)
            single = {value.dtype for value in module.parameters()} == {torch.float32}
            module = module.to(device=self.device, dtype=torch_dtype(self.dtype)).eval()
        return module, shape, single


def _own_forward(module: nn.Module, x: torch.Tensor) -> str:
    """Return where the module underflows in single precision, in which it came."""
    single = copied(module).float()
    with as_found(single, x):
        return next(filter(None, (in_forward(single, x[i : i + 1].float()) for i in range(len(x)))), "")
