"""Answer a request for times and values; run by each package's own interpreter, so it imports numpy alone.

A request is {"laws": {law: {"pdf": points, "cdf": points, "ppf": points}}, "repeats": n}; an answer is
{law: {"build": seconds, "pdf": {"seconds": s, "values": [...]}, ...}}, or {"error": a word} in place of either.
"""

import json
import math
import signal
import sys
import time
import warnings
from functools import partial

import numpy as np

LIMIT = 20  # seconds for one law's construction, and for each method, once


class TooSlow(Exception):
    pass


def answer(builders, methods):
    """Read the request named on the command line, write the answer.

    Parameters
    ----------
    builders : dict
        {law: function that returns a new object}; a law that is missing is one the package has not.
    methods : dict
        {"pdf" | "cdf" | "ppf": function of (object, points)}, which may return None: this law has not that method.
    """
    request, out = sys.argv[1:]
    with open(request) as file:
        asked = json.load(file)
    signal.signal(signal.SIGALRM, _stop)
    warnings.simplefilter("ignore")
    with np.errstate(all="ignore"):
        answers = {law: _law(builders[law], methods, points, asked["repeats"])
                   for law, points in asked["laws"].items() if law in builders}
    with open(out, "w") as file:
        json.dump(answers, file)


def _law(build, methods, points, repeats):
    points = {method: np.array(values) for method, values in points.items()}
    middle = points["pdf"][len(points["pdf"]) // 2 :][:1]

    def ready():
        law = build()
        methods["pdf"](law, middle)
        return law

    try:
        seconds, law = _best(lambda _: ready(), lambda: None, repeats)
    except Exception as error:
        return {"error": _words(error)}
    found = {"build": seconds}
    fresh = ready if seconds < 0.2 else lambda: law  # what a law keeps after its first call is not free
    for name, method in methods.items():
        try:
            taken, values = _best(partial(_call, method, points[name]), fresh, repeats)
            if values is not None:
                found[name] = {"seconds": taken, "values": np.asarray(values, dtype=float).tolist()}
        except Exception as error:
            found[name] = {"error": _words(error)}
    return found


def _call(method, points, law):
    return method(law, points)


def _best(run, prepare, repeats):
    """Return the shortest time of a call in some runs, and its result; two runs where a call takes over a second.

    A run is as many calls, each on its own object, as fill 2 ms, at most 100.
    """
    best, result, calls = float("inf"), None, 1
    try:
        for again in range(1 + repeats):  # the first loads what is loaded when asked for, and finds how many calls
            signal.alarm(LIMIT)
            given = [prepare() for _ in range(calls)]
            start = time.perf_counter()
            for one in given:
                result = run(one)
            taken = (time.perf_counter() - start) / calls
            best, calls = min(best, taken), max(calls, min(100, math.ceil(2e-3 / taken)))
            if again and taken > 1:
                break
    finally:
        signal.alarm(0)
    return best, result


def _words(error):
    return f"over {LIMIT} s" if isinstance(error, TooSlow) else type(error).__name__


def _stop(*_):
    raise TooSlow
