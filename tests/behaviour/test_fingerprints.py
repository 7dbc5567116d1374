"""A key tells apart all that decides the values: custom functions, modules, arrays, schemes; or the store refuses."""

from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import rmt
from empirical import Store, inputs, kept, measure
from empirical.predicted import Predicted
from empirical.schedule import fingerprint
from empirical.task import Task
from empirical.workers import workers
from rmt import activations, mlp
from rmt.networks.schemes import Scheme

X = inputs.array(np.linspace(-1, 1, 12).reshape(3, 4))


def values(source, store, **options):
    return measure(source, draws=2, store=store, progress=False, **options)


def wave(speed):
    return activations.custom("wave", lambda u: np.sin(speed * u) / speed, lambda u: np.cos(speed * u),
                              torch=lambda u: torch.sin(speed * u) / speed)


def nets(phi):
    return [mlp([6, 6, 6], phi), rmt.Network(6, [rmt.Residual([rmt.Dense(6), rmt.Residual([rmt.Activation(phi)])])])]


@pytest.mark.parametrize("kind", [0, 1])
def test_two_custom_functions_of_one_name_are_two_networks(tmp_path, kind):
    one, two = (nets(wave(speed))[kind] for speed in (1, 2))
    assert repr(one) == repr(two)
    first, second = values(one, tmp_path), values(two, tmp_path)
    np.testing.assert_array_equal(second.log_singular_values, values(two, None).log_singular_values)
    assert not np.array_equal(first.log_singular_values, second.log_singular_values)
    before = len(list(tmp_path.iterdir()))
    again = values(nets(wave(1))[kind], tmp_path)  # the same function, made anew
    np.testing.assert_array_equal(again.log_singular_values, first.log_singular_values)
    assert len(list(tmp_path.iterdir())) == before == 4


def test_they_are_not_joined_either():
    one, two = (values(nets(wave(speed))[0], None, seed=speed) for speed in (1, 2))
    with pytest.raises(ValueError, match="fingerprint"):
        one + two
    assert (one + values(nets(wave(1))[0], None, seed=5)).networks == 4


@pytest.mark.parametrize("other", [
    {"derivative": np.sin}, {"function": np.cos}, {"bends": (0.5,)}, {"torch": torch.tanh}, {"torch": None},
    {"function": lambda u: np.where(np.abs(u) > 400, 0.0, np.sin(u))},
    {"function": lambda u: np.where(np.abs(u) < 1e-7, 0.0, np.sin(u))},
    {"torch": lambda u: torch.sin(u) * (1 + 1e-8)},
    {"torch": lambda u: torch.sin(u.detach()) + 0 * u},  # the same values, no slope
])
def test_what_differs_anywhere_has_another_fingerprint(other):
    phi = activations.custom("sine", np.sin, np.cos, torch=torch.sin)

    def of(one):
        return fingerprint(Task(mlp([3, 3], one), "", inputs.gaussian(), 1, 0, 0, "cpu", "float64"), None, True)

    assert of(phi) == of(activations.custom("sine", lambda u: np.sin(u), lambda u: np.cos(u), torch=lambda u: u.sin()))
    assert of(phi) != of(replace(phi, **other))


def test_what_was_stored_before_is_found(tmp_path):
    """Of networks without custom functions: keys as they were before there were fingerprints."""
    network = rmt.Network((2, 4, 4), [
        rmt.Conv2d(3, 3, padding_mode="circular", init="kaiming_normal"), rmt.BatchNorm(), rmt.Activation("gelu"),
        rmt.Flatten(), rmt.Residual([rmt.Dense(48, "orthogonal"), rmt.Activation("leaky_relu(0.2)")], scale=0.5),
        rmt.Dense(5, rmt.schemes.trunc_normal(std=0.02), bias_std=0.1), rmt.Activation("erf")])
    values(mlp([5] * 3), tmp_path / "plain")
    assert "f41d5250f3f3e075ab95deacfe99cd93.npz" in {path.name for path in (tmp_path / "plain").iterdir()}
    data = inputs.array(np.arange(1.0, 65).reshape(2, 2, 4, 4), "x")
    measure(network, draws=4, store=tmp_path / "rich", label="mine", inputs=data, inputs_per_network=2, seed=7,
            dtype="float32", progress=False)
    assert "af5433f82120450de23468c8257f9a23.npz" in {path.name for path in (tmp_path / "rich").iterdir()}
    kept.answers([Predicted(network, 2.0, (0.1, 0.5))], tmp_path / "jobs", None, "", show=False)
    assert [path.name for path in (tmp_path / "jobs").iterdir()] == ["919c602684b7e765013698abc644d3a4.npz"]


# ---- factories -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Made:
    """A factory of small modules."""

    width: int = 8
    gain: float = 1.0
    act: type = nn.Tanh
    detached: bool = False

    def __call__(self):
        first = nn.Linear(4, self.width)
        with torch.no_grad():
            first.weight *= self.gain
        between = Detached() if self.detached else nn.Identity()
        return nn.Sequential(first, between, self.act(), nn.Linear(self.width, 3))


class Detached(nn.Module):
    def forward(self, x):
        return x + 0.5 * (x - x.detach())


class Hidden(nn.Module):
    """Its text and its parameters do not say what it does."""

    speed = 1.0

    def forward(self, x):
        return torch.sin(self.speed * x)

    def extra_repr(self):
        return repr(lambda x: x)  # with an address, which says nothing


class Faster(Hidden):
    speed = 1.00001

    def _get_name(self):
        return "Hidden"


OTHERS = [Made(9), Made(gain=1.0001), Made(act=nn.ReLU), Made(act=Hidden), Made(act=Faster)]


def test_factories_of_one_label_are_told_apart_by_what_a_module_is_and_computes(tmp_path):
    for made in [Made(), *OTHERS]:
        found = values(made, tmp_path, inputs=X, label="mine").log_singular_values
        np.testing.assert_array_equal(found, values(made, None, inputs=X).log_singular_values)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert len(files) == 2 * (1 + len(OTHERS))
    for made in [Made(), *OTHERS]:
        values(made, tmp_path, inputs=X, label="mine")
    assert sorted(path.name for path in tmp_path.iterdir()) == files


def test_a_factory_has_one_key_here_and_in_other_processes(tmp_path):
    first = values(Made(), tmp_path, inputs=X, label="mine").log_singular_values
    with workers(1) as pool:
        again = values(Made(), tmp_path, inputs=X, label="mine", executor=pool).log_singular_values
    np.testing.assert_array_equal(first, again)
    assert len(list(tmp_path.iterdir())) == 2


def test_values_that_agree_with_slopes_that_do_not_are_told_apart():
    task = Task(Made(), "", X, 1, 0, 0, "cpu", "float64")
    assert fingerprint(task, None, True) != fingerprint(replace(task, source=Made(act=nn.Identity)), None, True)
    one, two = (fingerprint(replace(task, source=source), None, True) for source in (Made(), Made(detached=True)))
    assert one != two


def test_a_factory_whose_modules_torchs_seed_does_not_decide_is_refused(tmp_path):
    numbers = count()

    def changing():
        return nn.Sequential(nn.Linear(4, 4), nn.LeakyReLU(0.1 + next(numbers)))

    with pytest.raises(ValueError, match=r"'mine'.*two modules of one seed differ"):
        values(changing, tmp_path, inputs=X, label="mine")
    assert list(tmp_path.iterdir()) == []
    assert values(changing, None, inputs=X).networks == 2


# ---- what has no text of its own -------------------------------------------------------------------------------------


class Square(activations.ActivationFunction):
    kinks = ()

    def value(self, u):
        return u * u

    def slope(self, u):
        return 2 * u


class Mine(inputs.Data):
    shape, count = (4,), 5

    def take(self, rows):
        return np.eye(5, 4)[rows] + 1.0


@pytest.mark.parametrize(("source", "options", "name"), [
    (mlp([4, 4], Square()), {}, "source"), (mlp([4, 4]), {"inputs": Mine()}, "inputs")])
def test_what_has_an_address_for_a_text_is_refused_by_the_store(tmp_path, source, options, name):
    with pytest.raises(ValueError, match=f"^{name} cannot be stored: .*address in memory.*0x"):
        values(source, tmp_path, **options)
    assert list(tmp_path.iterdir()) == []


def test_a_data_set_without_a_name_can_be_measured_all_the_same():
    assert values(mlp([4, 4]), None, inputs=Mine()).networks == 2


def test_an_array_made_by_hand_has_its_checksum_too():
    one, two = (inputs.Array("mine", scale * np.ones((3, 4))) for scale in (1.0, 2.0))
    assert repr(one) != repr(two)
    assert repr(one) == repr(inputs.array(np.ones((3, 4)), "mine")) == repr(replace(one))


def test_a_scheme_that_is_not_what_it_is_called_is_another(tmp_path):
    mean = {gain: values(mlp([6, 6], "linear", Scheme("mine()", Fraction(gain))), tmp_path).log_singular_values.mean()
            for gain in (1, 4)}
    assert mean[4] == pytest.approx(mean[1] + np.log(2), rel=1e-12)
    lying = Scheme("lecun_normal()", Fraction(9))
    assert values(mlp([6, 6], "linear", lying), tmp_path).log_singular_values.mean() > mean[4]
    values(mlp([6, 6], "linear", "lecun_normal"), tmp_path)
    assert len(list(tmp_path.iterdir())) == 8


# ---- jobs ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Gain:
    """Mean of a network's law, or of numbers."""

    network: object = None
    numbers: object = field(default=None, hash=False, compare=False)

    def run(self, partial):
        law = self.network and rmt.predict(self.network).spectrum.squared
        return {"mean": np.array(law.mean() if law else sum(float(one.sum()) for one in self.numbers))}


def jobs_differ(folder, *jobs):
    found = [float(kept.answers([job], folder, None, "", show=False)[0]["mean"]) for job in jobs]
    assert len(list(Path(folder).iterdir())) == len(jobs)
    assert len(set(found)) == len(jobs)


def test_jobs_with_custom_functions_or_arrays_are_told_apart(tmp_path):
    jobs_differ(tmp_path / "functions", *(Gain(nets(wave(speed))[0]) for speed in (1, 2)))
    x = np.arange(5000.0)
    y = np.where(x == 2000, 7.0, x)
    assert repr(Gain(numbers=x)) == repr(Gain(numbers=y))  # numpy leaves out the middle
    jobs_differ(tmp_path / "arrays", *(Gain(numbers=values) for values in (x, y, (x[:9],), [x[:8], y[:7]])))
    jobs_differ(tmp_path / "tensors", *(Gain(numbers=torch.as_tensor(values)) for values in (x, y)))


def test_a_job_with_an_address_for_a_text_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"^job cannot be stored"):
        kept.answers([Gain(numbers=lambda: 1)], tmp_path, None, "", show=False)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_other_functions_says_so(tmp_path):
    values(nets(wave(1))[0], tmp_path)
    network = nets(wave(2))[0]
    task = Task(network, repr(network), inputs.gaussian(), 1, 0, 0, "cpu", "float64")
    said = Store(tmp_path).other([replace(task, fingerprint=fingerprint(task, None, True)).question])
    assert "fingerprint was" in said
    assert "fingerprint was" in Store(tmp_path).other([task.question])
