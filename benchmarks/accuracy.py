"""Errors of every law and method, ours and the peers', against 50 digits: `make accuracy` -> docs/accuracy.md."""

from __future__ import annotations

from pathlib import Path

from benchmarks import against

PAGE = Path("docs/accuracy.md")
INTRODUCTION = f"""# Accuracy

Made by `make accuracy`. A cell is the largest and the mean error over {-(-against.POINTS // against.JUDGED)} points
with cdf from 1e-6 to 1 - 1e-6 of the continuous part, even in the logit: down to x = 1e-306 for FC(50). The first is
the atom at zero where there is one (cdf at 0, quantile at half its mass). Errors are relative for densities and
quantiles, absolute for the cdf and for quantiles of laws with values of both signs. They are taken against mpmath at 50
digits, by other routes than `rmt` takes (`benchmarks/reference.py`), at the very floats that the packages were given.
The worst points are mostly the last before an edge, 1e-4 of it away, where one rounding of a place or of its logarithm
moves a density by some 5e-13: the largest error there is that of one rounding, which changes with the order of work.

{against.WORDS}
"""


def main() -> None:
    """Write the page."""
    results = against.compare(repeats=1)
    page = INTRODUCTION + against.notes(results)
    for method, title in (("pdf", "Density"), ("cdf", "Cdf"), ("ppf", "Quantile")):
        page += f"## {title}\n\n{against.accuracy(results, method)}\n"
    PAGE.write_text(page.rstrip() + "\n")
    print(page)


if __name__ == "__main__":
    main()
