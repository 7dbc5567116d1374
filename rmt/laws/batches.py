"""Points a batch at a time: tables of points against values that fit the cache."""

_NUMBERS = 2**14  # of a table


def batches(points: int, values: int) -> list[slice]:
    """Return slices of so many points, each of which makes a small table with so many values."""
    step = max(1, _NUMBERS // max(1, values))
    return [slice(i, i + step) for i in range(0, points, step)]
