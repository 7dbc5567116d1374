"""The laws as scikit-rmt spells them; its semicircle has no quantiles."""

from asking import answer
from skrmt.ensemble.spectral_law import (
    MarchenkoPasturDistribution,
    TracyWidomDistribution,
    WignerSemicircleDistribution,
)

LAWS = {
    "MP(.5)": lambda: MarchenkoPasturDistribution(0.5),
    "MP(1)": lambda: MarchenkoPasturDistribution(1.0),
    "MP(2)": lambda: MarchenkoPasturDistribution(2.0),
    "semicircle": WignerSemicircleDistribution,
    **{f"Tracy-Widom {beta}": lambda beta=beta: TracyWidomDistribution(beta) for beta in (1, 2, 4)},
}


def quantiles(law, q):
    return law.ppf(q) if hasattr(law, "ppf") else None


if __name__ == "__main__":
    answer(LAWS, {"pdf": lambda law, x: law.pdf(x), "cdf": lambda law, x: law.cdf(x), "ppf": quantiles})
