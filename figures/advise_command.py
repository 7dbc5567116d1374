"""The command rmt advise."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from figures.options import DONE, PICTURES, check_out, json_number, save
from figures.terminal import say
from rmt.checks import integer
from rmt.text import exp_text

if TYPE_CHECKING:  # what is wrong with the arguments is said before torch is loaded
    from torch import nn

    from empirical.diagnose import Diagnosis

_NAMES = {"log_largest_s": "largest s", "log_median_s": "median s", "log_smallest_s": "smallest s",
          "mass_at_zero": "mass at zero", "unresolved": "not resolved", "gradient_growth": "gradient growth"}


def advise(model: str, shape: str, samples: int, tokens: int | None, between: str | None, output: str | None, seed: int,
           as_json: bool, out: str | None) -> int:
    """Say what a model of your own is, predict and measure its Jacobian, and what to change."""
    check_out(out, PICTURES)
    sizes = _sizes(shape)
    ends = _ends(between)
    integer("seed", seed, 0)
    file, name = _place(model)
    from empirical.diagnose import diagnose
    from empirical.threads import one_blas_thread
    from figures import style
    from figures.own_model import apart, made

    with apart(model), one_blas_thread(), warnings.catch_warnings():
        module = made(file, name, seed)
        warnings.simplefilter("ignore")  # what they say is in the text
        try:
            found = diagnose(module, sizes, samples=samples, seed=seed, tokens=tokens, between=ends,
                             output=int(output) if output and output.isdecimal() else output)
        except Exception as error:
            if said := _misfit(module, sizes, tokens, ends, file):
                raise ValueError(f"{model}: {said}") from error
            raise
    if as_json:
        click.echo(json.dumps(_content(found), indent=2))
    else:
        say(_text(found))
    if out:
        style.use()
        save(found.plot(), out)
    return DONE


def _sizes(text: str) -> tuple[int, ...]:
    try:
        sizes = [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"--input must be whole numbers as 3,32,32, got {text!r}") from None
    return tuple(integer("input_shape", size) for size in sizes)


def _ends(text: str | None) -> tuple[str | None, str | None] | None:
    if text is None:
        return None
    first, comma, last = text.partition(",")
    if not comma:
        raise ValueError(f"--between must be two names with a comma between them, got {text!r}")
    return first or None, last or None


def _misfit(module: nn.Module, sizes: tuple[int, ...], tokens: int | None,
            ends: tuple[str | None, str | None] | None, file: Path) -> str:
    """Return why the module does not run on such an input, and what option it lacks; "" if it runs."""
    from empirical.misfit import behind, misfit

    found = misfit(module, sizes, tokens, file)
    if found is None:
        if tokens is None or ends is not None:
            return ""
        return f"--tokens needs --between, to measure from behind the embedding: {_between(behind(module, sizes))}"
    if not found.whole:
        return found.reason
    count = "N, their number" if found.tokens is None else str(found.tokens)
    return f"{found.reason}: say --tokens {count}, and, to measure from behind the embedding, {_between(found.behind)}"


def _between(name: str) -> str:
    return f"--between {name}," if name else "--between NAME,"


def _place(model: str) -> tuple[Path, str]:
    """Return the file and the name of FILE.py:NAME."""
    file, _, name = model.rpartition(":")
    path = Path(file)
    if not name.isidentifier() or path.suffix != ".py" or not path.is_file():
        raise ValueError(f"MODEL must be FILE.py:NAME of a file that is there, got {model!r}")
    return path, name


def _content(found: Diagnosis) -> dict[str, Any]:
    rows = [{"name": row.name, "kind": row.kind, "shape": row.shape, "fan_in": row.fan_in, "mean": row.mean,
             "std": row.std, "std_error": row.std_error, "sigma_w": row.sigma_w, "bias_std": row.bias_std,
             "scheme": None if row.scheme is None else str(row.scheme), "not_random": row.odd} for row in found.weights]
    return {"outputs": found.shape[0], "inputs": found.shape[1], "weights": rows,
            "network": None if found.description is None else str(found.description.network),
            "obstacle": found.obstacle, "warnings": found.warnings, "unresolved_because": found.unresolved_because,
            "averaging": found.anatomy.averaging,
            "measured": {key: json_number(value) for key, value in found.summary.items()},
            "predicted": None if found.predicted is None else {
                key: json_number(value) for key, value in found.predicted.items()},
            "distance": None if found.agreement is None else found.agreement.discrepancy,
            "advice": found.advice}


def _text(found: Diagnosis) -> str:
    from empirical.weights import table as weights_table

    lines = [weights_table(found.weights), "",
             f"Jacobian: {found.shape[0]} outputs, {found.shape[1]} inputs{_without(found)}"]
    if found.description is not None:
        lines.append(f"network: {found.description.network}")
    lines += [f"left out: {warning}" for warning in found.warnings]
    if found.obstacle:
        lines.append(f"no prediction: {found.obstacle}")
    lines += ["", f"{'':18} {'measured':>14} {'predicted':>14}"]
    predicted = found.predicted or {}
    for key, value in found.summary.items():
        if key != "unresolved" or value:
            shown = "not resolved" if value is None and found.unresolved else _cell(key, value)
            lines.append(f"{_NAMES[key]:18} {shown:>14} {_cell(key, predicted.get(key)):>14}".rstrip())
    if found.anatomy.averaging is not None and found.anatomy.averaging < 1:
        lines.append(f"{'by averages alone':18} {found.anatomy.averaging:14.4g}")
    if found.kept < 1:
        lines.append(f"{'by shape alone':18} {found.kept:14.4g}")
    if found.unresolved:
        why = f"{'the module was measured whole: ' if found.density is None else ''}{found.unresolved_because}"
        lines.append(f"{100 * found.unresolved:.3g} % of the values lie at or under {exp_text(found.log_floor)}, which "
                     f"is all that is known of them, for {why}")
    if found.agreement is not None:
        lines.append(f"distance of the cdfs of {min(found.shape)} values: {found.agreement.discrepancy:.3f}"
                     f"{_expected(found)}")
    return "\n".join([*lines, "", *(f"- {line}" for line in found.advice or (_nothing(found),))])


def _without(found: Diagnosis) -> str:
    if found.density is None:
        return ""
    return f", not formed: {found.density.probes} random vectors, {found.density.steps} products with each, either way"


def _nothing(found: Diagnosis) -> str:
    """Return what is true where nothing is advised."""
    if not found.judged:
        return ("what of the growth of gradients is that of an average is not known, so nothing is said of it: "
                f"{found.anatomy.averager}")
    if found.unresolved:
        return "gradients neither grow nor vanish; of the values that are not resolved nothing is known"
    return "nothing to change: gradients neither grow nor vanish"


def _expected(found: Diagnosis) -> str:
    expected = found.prediction.finite_width.distance if found.prediction is not None else None
    return "" if expected is None else f" (one network of this width is {expected:.3f} from the law, on average)"


def _cell(key: str, value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if not key.startswith("log_") else exp_text(value) if math.isfinite(value) else "0"
