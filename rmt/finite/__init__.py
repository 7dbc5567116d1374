"""What a finite width does, from numbers."""

from rmt.finite.rank import RankDistribution
from rmt.finite.regime import Regime, regime

__all__ = ["RankDistribution", "Regime", "regime"]
