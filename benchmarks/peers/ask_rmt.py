"""The laws as `rmt` spells them."""

from asking import answer

import rmt  # noqa: F401  what the laws' texts call

COIN = "rmt.Discrete((-1, 1), (.5, .5))"
LAWS = {
    "MP(.5)": "rmt.MarchenkoPastur(.5)",
    "MP(1)": "rmt.MarchenkoPastur(1)",
    "MP(2)": "rmt.MarchenkoPastur(2)",
    "semicircle": "rmt.Semicircle()",
    **{f"FC({n})": f"rmt.FussCatalan({n})" for n in (2, 5, 10, 20, 50)},
    "ln FC(500)": "rmt.FussCatalan(500).log",
    "MP(.5) * MP(.25)": "rmt.MarchenkoPastur(.5) * rmt.MarchenkoPastur(.25)",
    "MP(.5) * MP(2) * Bernoulli(.5)": "rmt.MarchenkoPastur(.5) * rmt.MarchenkoPastur(2) * rmt.Bernoulli(.5)",
    "MP(.5) * {1, 3}": "rmt.MarchenkoPastur(.5) * rmt.Discrete((1, 3), (.5, .5))",
    "MP(1) + semicircle": "rmt.MarchenkoPastur(1) + rmt.Semicircle()",
    "coin + semicircle": f"{COIN} + rmt.Semicircle()",
    "coin + coin": f"{COIN} + {COIN}",
    **{f"Tracy-Widom {beta}": f"rmt.TracyWidom({beta})" for beta in (1, 2, 4)},
}

if __name__ == "__main__":
    answer({law: eval(f"lambda: {text}") for law, text in LAWS.items()},
           {"pdf": lambda law, x: law.pdf(x), "cdf": lambda law, x: law.cdf(x), "ppf": lambda law, q: law.ppf(q)})
