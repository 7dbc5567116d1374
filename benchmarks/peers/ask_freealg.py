"""The laws as freealg spells them; a density and nothing else.

`eta`, the distance from the axis where it reads the density, is the most accurate one, measured, of its default 2e-4,
1e-6, 1e-8 ... 1e-16, 1e-40 and 0 for each law that it is right about; where none is, 1e-6.
"""

from asking import answer
from freealg import distributions as d

COIN = {"t": [-1.0, 1.0], "w": [0.5, 0.5]}
LAWS = {
    "MP(.5)": lambda: (d.MarchenkoPastur(0.5), {}),
    "MP(1)": lambda: (d.MarchenkoPastur(1.0), {}),
    "MP(2)": lambda: (d.MarchenkoPastur(2.0), {}),
    "semicircle": lambda: (d.Wigner(2.0), {}),
    "FC(2)": lambda: (d.FussCatalan(2), {"eta": 0.0}),
    **{f"FC({n})": lambda n=n: (d.FussCatalan(n), {"eta": 1e-6}) for n in (5, 10, 20, 50)},
    "MP(.5) * {1, 3}": lambda: (d.DeformedMarchenkoPastur([1.0, 3.0], [0.5, 0.5], 0.5), {"eta": 1e-16}),
    "MP(1) + semicircle": lambda: (d.FreeLevy([1.0], [1.0], 1.0, 0.0, 1.0), {"eta": 1e-16}),
    "coin + semicircle": lambda: (d.DeformedWigner(**COIN, sigma=1.0), {"eta": 1e-16}),
}

if __name__ == "__main__":
    answer(LAWS, {"pdf": lambda law, x: law[0].density(x, **law[1])})
