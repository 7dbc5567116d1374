"""The laws as rmtool spells them: bivariate polynomials, a density and nothing else."""

from functools import reduce

from asking import answer
from rmtool import AplusB, AtimesWish, Lmz2pdf, atomLmz, wignerpol, wishartpol
from sympy import Rational

HALF = Rational(1, 2)


def coin():
    return atomLmz([-1, 1], [HALF, HALF])


def chain(start, *ratios):
    return reduce(AtimesWish, ratios, start)


LAWS = {
    "MP(.5)": lambda: wishartpol(HALF),
    "MP(1)": lambda: wishartpol(1),
    "MP(2)": lambda: wishartpol(2),
    "semicircle": wignerpol,
    **{f"FC({n})": lambda n=n: chain(wishartpol(1), *[1] * (n - 1)) for n in (2, 5, 10, 20, 50)},
    "MP(.5) * MP(.25)": lambda: chain(wishartpol(HALF), HALF**2),
    "MP(.5) * MP(2) * Bernoulli(.5)": lambda: chain(atomLmz([0, 1], [HALF, HALF]), HALF, 2),
    "MP(.5) * {1, 3}": lambda: chain(atomLmz([1, 3], [HALF, HALF]), HALF),
    "MP(1) + semicircle": lambda: AplusB(wignerpol(), wishartpol(1)),
    "coin + semicircle": lambda: AplusB(wignerpol(), coin()),
    "coin + coin": lambda: AplusB(coin(), coin()),
}

if __name__ == "__main__":
    answer(LAWS, {"pdf": lambda law, x: Lmz2pdf(law, x).best_density()})
