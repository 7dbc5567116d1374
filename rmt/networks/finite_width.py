"""What the finite width of a network does to what was predicted."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from rmt.finite.chain import Chain
from rmt.finite.condition import chain_log_condition_number
from rmt.finite.extremes import LogValue, log_largest, mean_log
from rmt.finite.norm import LogNorm
from rmt.finite.rank import RankDistribution
from rmt.finite.regime import Regime
from rmt.laws.views import Spectrum


@dataclass(frozen=True)
class FiniteWidth:
    """What the finite width does.

    Attributes
    ----------
    spectrum : Spectrum
        The law at infinite width.
    regime : Regime
        Which theory a network of this depth and width obeys.
    rank : RankDistribution
        The number of non-zero values.
    log_norm : LogNorm
        Of ln |J u|^2 for one vector.
    chain : Chain or None
        The network at its own width, where it is a chain of independent matrices; `Prediction.null`.
    """

    spectrum: Spectrum
    regime: Regime
    rank: RankDistribution
    log_norm: LogNorm
    chain: Chain | None

    @cached_property
    def distance(self) -> float | None:
        """How far one network may be from the law: the mean sup distance of the cdfs given s > 0; None if not known."""
        return None if self.chain is None else self.chain.distance(self.spectrum)

    @cached_property
    def log_largest(self) -> LogValue | None:
        """Ln s_max of one network at any depth over width: Gaussian linear and ReLU layers; else None."""
        return None if self.chain is None else log_largest(self.chain)

    @cached_property
    def mean_log(self) -> LogValue | None:
        """The mean of ln s over the non-zero values of one network, as `log_largest`."""
        return None if self.chain is None else mean_log(self.chain)

    @cached_property
    def log_condition_number(self) -> float:
        """Mean over networks of ln s_max over the least s > 0; typical for the law where the chain is not known."""
        if self.chain is not None:
            return chain_log_condition_number(self.chain)
        return self.spectrum.log_condition_number_at(max(1, round(self.rank.n_inputs * (1 - self.rank.mass_at_zero))))
