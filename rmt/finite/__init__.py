"""What a finite width does, from numbers."""

from rmt.finite.condition import LogCondition, log_condition_number
from rmt.finite.corrected import Corrected, corrected
from rmt.finite.gaussian_chain import GaussianChain, GaussianLayer
from rmt.finite.lyapunov import PicketFence, lyapunov_exponents
from rmt.finite.norm import LogNorm, log_norm
from rmt.finite.rank import RankDistribution
from rmt.finite.regime import Regime, regime

__all__ = ["Corrected", "GaussianChain", "GaussianLayer", "LogCondition", "LogNorm", "PicketFence", "RankDistribution",
           "Regime", "corrected", "log_condition_number", "log_norm", "lyapunov_exponents", "regime"]
