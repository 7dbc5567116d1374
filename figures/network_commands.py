"""The commands rmt predict, measure and compare: one multilayer perceptron, described by options.

What can be wrong with the options is said before torch or the laws are loaded, which take a while.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from empirical import study as studies
from empirical.measurement import Measurement
from empirical.progress import waiting
from empirical.store import Store
from figures.options import (
    DIFFERENT,
    DONE,
    INCOMPLETE,
    PICTURES,
    check_out,
    json_number,
    resumable,
    save,
    save_table,
    start,
)
from figures.tables import FORMATS
from figures.terminal import say, width
from rmt.checks import choice, integer, number
from rmt.errors import ConvergenceError
from rmt.networks.activations import activation as activation_of
from rmt.networks.schemes import checked_bias, scheme
from rmt.text import exp_text

if TYPE_CHECKING:
    from empirical.inputs import Inputs
    from rmt.networks.finite_width import FiniteWidth
    from rmt.networks.network import Network
    from rmt.networks.predict import Prediction


def widths(text: str) -> list[int]:
    """Read "784,500x10,10": input 784, ten layers of 500, one of 10; "200x6": input 200 and six layers of 200."""
    out: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"0*([1-9]\d{0,5})(?:x0*([1-9]\d{0,4}))?", part.strip(), re.ASCII)
        if match is None:
            raise ValueError(f"widths must look like 784,500x10,10 with whole numbers from 1 to 999999, got {text!r}")
        out += [int(match[1])] * int(match[2] or 1)
    if len(out) > studies.LIMITS["depth"]:
        raise ValueError(f"widths must be at most {studies.LIMITS['depth']} layers, got {len(out)}")
    return [out[0], *out] if "x" in text and "," not in text else out


@dataclass(frozen=True)
class Asked:
    """A network and its inputs as the options describe them, checked."""

    widths: tuple[int, ...]
    activation: str
    init: str
    bias_std: float
    activate_last: bool
    source: Inputs

    @property
    def network(self) -> Network:
        """The network."""
        from rmt.networks.network import mlp

        return mlp(self.widths, self.activation, self.init, self.bias_std, self.activate_last)


def _asked(width_text: str, activation: str, init: str, bias_std: float, activate_last: bool, inputs: str) -> Asked:
    source = studies.INPUTS[choice("inputs", inputs, studies.INPUTS)]
    layers = widths(width_text)
    activation_of(activation)
    checked_bias(scheme(init), bias_std)
    found = source()
    found.check(tuple(layers[:1]))
    return Asked(tuple(layers), activation, init, bias_std, activate_last, found)


def _draws(draws: int, seed: int) -> None:
    most = studies.LIMITS["draws"]
    if integer("draws", draws) > most:
        raise ValueError(f"draws must be at most {most}, got {draws}")
    integer("seed", seed, 0)


def _predicted(asked: Asked, yes: bool) -> Prediction:
    """Return the prediction; what takes long is asked for first."""
    from empirical.estimate import prediction
    from rmt.networks.predict import predict

    start(f"predicting {asked.network}", prediction(asked.network), yes)
    return predict(asked.network, asked.source.mean_square, asked.source.correlation)


def _measured(asked: Asked, draws: int, seed: int, store: Store | None, out: str | None, yes: bool) -> Measurement:
    """Return the measurement, saved as `out` or not; what takes long is asked for first."""
    from empirical.measure import estimated, measure

    takes = estimated(asked.network, draws=draws, inputs=asked.source, seed=seed,
                      store=None if store is None else store.folder, saved=out is not None)
    start(f"measuring {draws} networks {asked.network}", takes, yes, Path(out).absolute().parent if out else None)
    return measure(asked.network, draws=draws, inputs=asked.source, seed=seed, store=store)


def _summary(prediction: Prediction) -> dict[str, Any]:
    spectrum = prediction.spectrum
    zeros = spectrum.atoms.get(0.0, 0.0)
    n = max(1, round(prediction.network.n_inputs * (1 - zeros)))  # values that are not zero
    finite, verdict = prediction.finite_width, prediction.verdict
    values = {"log_largest_s": finite.log_largest, "log_of_geometric_mean_s": finite.mean_log}
    bands = {f"{name}_of_one_network": [value.band()[0], value.median, value.band()[1]]
             for name, value in values.items() if value is not None}
    return {
        "regime": finite.regime.name, "depth_times_beta_over_2": finite.regime.ratio,
        "distance_of_one_network": _distance(finite),
        "mean_x": spectrum.squared.mean(), "gradient_growth": prediction.gradient_growth,
        "mass_at_zero": zeros,
        "mass_at_zero_at_this_width": finite.rank.mass_at_zero,
        "log_largest_s": spectrum.log_edges[1], "log_smallest_s": json_number(spectrum.log_edges[0]),
        f"log_condition_number_at_{n}_values": verdict.log_condition_number,
        "log_condition_number_of_one_network": finite.log_condition_number, **bands,
        "gradient_growth_per_layer": json_number(verdict.growth_per_layer), "std_of_ln_s": verdict.log_spread,
        "verdict": verdict.word, "verdict_reason": verdict.reason, "warnings": list(prediction.warnings),
    }


def _distance(finite: FiniteWidth) -> float | None:
    try:
        return finite.distance
    except ConvergenceError as error:
        click.echo(f"rmt: distance of one network: {error}", err=True)
        return None


def _text(key: str, value: Any) -> str:
    """Return a value of the summary for a terminal; a band as its median with its ends."""
    if key.startswith("log_") and isinstance(value, list):
        low, median, high = map(exp_text, value)
        return f"{median} (90 %: {low} to {high})"
    if key.startswith("log_"):
        return exp_text(float(value))
    return f"{value:.6g}" if isinstance(value, float) else "none" if value in ([], None) else str(value)


def predict(width_text: str, activation: str, init: str, bias_std: float, activate_last: bool, inputs: str, seed: int,
            as_json: bool, yes: bool, out: str | None) -> int:
    """Predict from the initialization alone."""
    check_out(out, PICTURES)
    integer("seed", seed, 0)
    with waiting("solving the law"):
        prediction = _predicted(_asked(width_text, activation, init, bias_std, activate_last, inputs), yes)
        summary = _summary(prediction)
    if as_json:
        layers = [vars(row) for row in prediction.layers]
        click.echo(json.dumps({**summary, "layers": layers}, indent=2))
    else:
        say(prediction.table(width()) + "\n")
        for key, value in summary.items():
            name = key.removeprefix("log_").removeprefix("of_").replace("_", " ")
            if key == "warnings":
                say("\n".join(f"left out: {warning}" for warning in value) or f"{'warnings':40} none")
            elif key not in ("verdict", "verdict_reason"):
                say(f"{name:40} {_text(key, value)}")
        say(f"\nverdict: {prediction.verdict}")
    if out:
        from figures import style

        style.use()
        save(prediction.spectrum.plot(), out)
    return DONE


def measure(width_text: str, activation: str, init: str, bias_std: float, activate_last: bool, inputs: str, seed: int,
            as_json: bool, yes: bool, draws: int, store: str | None, out: str | None) -> int:
    """Measure random networks."""
    check_out(out, (".npz",))
    _draws(draws, seed)
    asked = _asked(width_text, activation, init, bias_std, activate_last, inputs)
    kept = Store(store) if store is not None else None
    with resumable(store):
        result = _measured(asked, draws, seed, kept, out, yes)
    if out:
        result.save(out)
    if as_json:
        click.echo(json.dumps([{key: json_number(x) for key, x in row.items()} for row in result.records()], indent=2))
    else:
        say(result.table())
    return DONE


def _loaded(path: str, source: Inputs) -> Measurement:
    """Return the measurement of a file, of these inputs; of which network is up to `compare`."""
    found = Measurement.load(path)
    if found.inputs != repr(source):
        raise ValueError(f"{path}: --inputs must be what the file was measured with, {found.inputs}, got {source!r}")
    return found


def compare(width_text: str, activation: str, init: str, bias_std: float, activate_last: bool, inputs: str, seed: int,
            as_json: bool, yes: bool, draws: int, store: str | None, measurement: str | None, tolerance: float,
            out: str | None) -> int:
    """Predict, measure and compare."""
    check_out(out, (*PICTURES, *FORMATS))
    number("tolerance", tolerance, 0, open_low=True, high=1, open_high=True)
    _draws(draws, seed)
    asked = _asked(width_text, activation, init, bias_std, activate_last, inputs)
    loaded = _loaded(measurement, asked.source) if measurement else None
    kept = Store(store) if store is not None else None
    with resumable(store):
        measured = loaded or _measured(asked, draws, seed, kept, None, yes)
    from figures import tables
    from rmt.agreement import AGREES, DIFFERS
    from rmt.agreement import compare as compared

    result = compared(_predicted(asked, yes), measured, tolerance)
    if as_json:
        click.echo(json.dumps({"verdict": result.verdict, "reason": result.reason, "discrepancy": result.discrepancy,
                               "interval": result.interval, "raw_discrepancy": result.raw_discrepancy,
                               "dependence": result.dependence, "p_value": result.p_value,
                               "zscores": [json_number(float(z)) for z in result.zscores],
                               "mass_at_zero": result.mass_at_zero, "wasserstein": result.wasserstein}, indent=2))
    else:
        say(result.table())
    if out and Path(out).suffix in FORMATS:
        save_table(tables.agreement(result), out)
    elif out:
        from figures import style

        style.use()
        save(result.plot(), out)
    return {AGREES: DONE, DIFFERS: DIFFERENT}.get(result.verdict, INCOMPLETE)
