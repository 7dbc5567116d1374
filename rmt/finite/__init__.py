"""What a finite width does, from numbers."""

from rmt.finite.chain import Chain, ChainLayer
from rmt.finite.condition import LogCondition, chain_log_condition_number, log_condition_number
from rmt.finite.corrected import Corrected, corrected
from rmt.finite.extremes import LogValue, log_largest, mean_log, tracy_widom_edge
from rmt.finite.lyapunov import PicketFence, lyapunov_exponents
from rmt.finite.norm import LogNorm, log_norm
from rmt.finite.rank import RankDistribution
from rmt.finite.regime import Regime, regime

__all__ = ["Chain", "ChainLayer", "Corrected", "LogCondition", "LogNorm", "LogValue", "PicketFence", "RankDistribution",
           "Regime", "chain_log_condition_number", "corrected", "log_condition_number", "log_largest", "log_norm",
           "lyapunov_exponents", "mean_log", "regime", "tracy_widom_edge"]
