"""The command rmt advise."""

from __future__ import annotations

import json
import math
import textwrap
import warnings
from typing import Any

import click

from empirical.diagnose import Diagnosis, diagnose
from empirical.threads import one_blas_thread
from empirical.weights import table as weights_table
from figures import style
from figures.options import DONE, PICTURES, check_out, json_number, save, shared
from figures.own_model import apart, made
from rmt.text import exp_text

_NAMES = {"log_largest_s": "largest s", "log_median_s": "median s", "log_smallest_s": "smallest s",
          "mass_at_zero": "mass at zero", "unresolved": "not resolved", "gradient_growth": "gradient growth"}
_WIDTH = 80


@click.command()
@click.argument("model")
@click.option("--input", "shape", required=True, help="Shape of one input, as 3,32,32.")
@click.option("--samples", type=click.IntRange(1, 1000), default=2, show_default=True, help="Random inputs.")
@click.option("--tokens", type=click.IntRange(1), help="Inputs are whole numbers below this; needs --between.")
@click.option("--between", help="Measure from the input of one submodule to the output of another: NAME,NAME; either "
              "may be empty.")
@click.option("--output", help="Which of several outputs.")
@shared
@click.option("--out", help="Draw what was measured into this file (.svg, .png or .pdf).")
def advise(model: str, shape: str, samples: int, tokens: int | None, between: str | None, output: str | None, seed: int,
           as_json: bool, out: str | None) -> int:
    """Say what a model of your own is, predict and measure its Jacobian, and what to change.

    MODEL is FILE.py:NAME, a function without arguments that returns a torch module, or a module. The file is run, as
    your own code that it is. Weights are drawn under --seed.

    Example: rmt advise examples/model.py:make_model --input 3,16,16
    """
    check_out(out, PICTURES)
    sizes = _sizes(shape)
    ends = _ends(between)
    with apart(model), one_blas_thread(), warnings.catch_warnings():
        module = made(model, seed)
        warnings.simplefilter("ignore")  # what they say is in the text
        found = diagnose(module, sizes, samples=samples, seed=seed, tokens=tokens, between=ends,
                         output=int(output) if output and output.isdecimal() else output)
    click.echo(json.dumps(_content(found), indent=2) if as_json else _text(found))
    if out:
        style.use()
        save(found.plot(), out)
    return DONE


def _sizes(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"--input must be whole numbers as 3,32,32, got {text!r}") from None


def _ends(text: str | None) -> tuple[str | None, str | None] | None:
    if text is None:
        return None
    first, comma, last = text.partition(",")
    if not comma:
        raise ValueError(f"--between must be two names with a comma between them, got {text!r}")
    return first or None, last or None


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
    lines = [weights_table(found.weights), "", f"Jacobian: {found.shape[0]} outputs, {found.shape[1]} inputs"]
    if found.description is not None:
        lines.append(_wrapped(f"network: {found.description.network}"))
    lines += [_wrapped(f"left out: {warning}") for warning in found.warnings]
    if found.obstacle:
        lines.append(_wrapped(f"no prediction: {found.obstacle}"))
    lines += ["", f"{'':18} {'measured':>14} {'predicted':>14}"]
    predicted = found.predicted or {}
    for key, value in found.summary.items():
        if key != "unresolved" or value:
            shown = "not resolved" if value is None and found.unresolved else _cell(key, value)
            lines.append(f"{_NAMES[key]:18} {shown:>14} {_cell(key, predicted.get(key)):>14}".rstrip())
    if found.anatomy.averaging is not None and found.anatomy.averaging < 1:
        lines.append(f"{'by averages alone':18} {found.anatomy.averaging:14.4g}")
    if found.unresolved:
        assert found.log_resolution is not None
        lines.append(_wrapped(f"{100 * found.unresolved:.3g} % of the values lie at or under "
                              f"{exp_text(float(found.log_resolution.max()))}, which is all that is known of them, for "
                              f"the module was measured whole: {found.unresolved_because}"))
    if found.agreement is not None:
        lines.append(_wrapped(f"distance of the cdfs of {min(found.shape)} values: "
                              f"{found.agreement.discrepancy:.3f}{_expected(found)}"))
    return "\n".join([*lines, "", *(_wrapped(f"- {line}") for line in found.advice or (_nothing(found),))])


def _nothing(found: Diagnosis) -> str:
    """Return what is true where nothing is advised."""
    if not found.judged:
        return "the module averages over places and cannot be read: what of its gradient growth that is, is not known"
    if found.unresolved:
        return "gradients neither grow nor vanish; of the values that are not resolved nothing is known"
    return "nothing to change: gradients neither grow nor vanish"


def _wrapped(text: str) -> str:
    return textwrap.fill(text, _WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _expected(found: Diagnosis) -> str:
    expected = found.prediction.finite_width.distance if found.prediction is not None else None
    return "" if expected is None else f" (one network of this width is {expected:.3f} from the law, on average)"


def _cell(key: str, value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if not key.startswith("log_") else exp_text(value) if math.isfinite(value) else "0"
