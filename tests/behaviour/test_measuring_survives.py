"""Measuring survives: killed runs, dying workers, networks that raise, full disks, other numerics, other hands."""

import errno
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from empirical import IncompleteError, Measurement, Store, measure
from empirical.inputs import array
from empirical.measurement import NUMERICS
from empirical.task import Task
from empirical.workers import workers
from rmt import mlp

NET = mlp([30] * 12, "tanh")
X = array(np.linspace(-1, 1, 12).reshape(3, 4))


def values(store=None, draws=6, net=NET, **options):
    return measure(net, draws=draws, store=store, progress=False, **options).log_singular_values


FORK = multiprocessing.get_context("forkserver")  # of a process that has torch already
FORK.set_forkserver_preload(["empirical"])


def run(folder):
    """Measure 40 networks, in a process to be killed."""
    values(folder, draws=40)


def start(folder):
    process = FORK.Process(target=run, args=(folder,))
    process.start()
    return process


def test_killed_eight_times_and_resumed_it_is_bit_equal(tmp_path):
    kept = set()
    for _ in range(8):
        before, process = len(list(tmp_path.glob("*.npz"))), start(tmp_path)
        while len(list(tmp_path.glob("*.npz"))) < before + 2 and process.is_alive():
            time.sleep(0.002)
        process.kill()
        process.join()
        now = {(path.name, path.stat().st_mtime_ns) for path in tmp_path.glob("*.npz")}
        assert kept <= now  # nothing was measured twice
        kept = now
    assert 8 <= len(kept) < 40
    np.testing.assert_array_equal(values(tmp_path, draws=40), values(draws=40))
    assert kept <= {(path.name, path.stat().st_mtime_ns) for path in tmp_path.glob("*.npz")}


def test_two_writers_at_once_leave_one_result(tmp_path):
    both = [start(tmp_path), start(tmp_path)]
    for process in both:
        process.join(120)
        assert process.exitcode == 0
    assert len(list(tmp_path.iterdir())) == 40
    np.testing.assert_array_equal(values(tmp_path, draws=40), values(draws=40))


# ---- workers that die, networks that raise ---------------------------------------------------------------------------


def dies_when_it_is_negative():
    """Ends its process for one network in three, whichever process that is; never pytest's own."""
    module = nn.Linear(4, 4)
    if module.weight[0, 0] < -0.2 and multiprocessing.parent_process():
        os._exit(1)
    return module


def once(pid):
    return Path(tempfile.gettempdir()) / f"rmt-test-once-{pid}"


def dies_once():
    """Ends the first process that comes by."""
    flag = once(multiprocessing.parent_process().pid if multiprocessing.parent_process() else os.getppid())
    if not flag.exists():
        flag.touch()
        os._exit(1)
    return nn.Linear(4, 4)


def raises_when_it_is_negative():
    """Raises for some networks."""
    module = nn.Linear(4, 4)
    if module.weight[0, 0] < -0.2:
        raise ArithmeticError("below")
    return module


def plain():
    """Never fails."""
    return nn.Linear(4, 4)


def executors():
    from joblib.externals.loky import ProcessPoolExecutor as Loky

    return {"workers": lambda: workers(2), "loky": lambda: Loky(2),
            "processes": lambda: ProcessPoolExecutor(2, multiprocessing.get_context("spawn"))}


@pytest.mark.slow
@pytest.mark.parametrize("name", executors())
@pytest.mark.parametrize("stored", [False, True])
def test_a_network_whose_process_dies_is_tried_elsewhere_then_listed(name, stored, tmp_path):
    once(os.getpid()).unlink(missing_ok=True)
    store = tmp_path / "store" if stored else None
    undisturbed = values(net=plain, draws=8, inputs=X, label="same")
    with executors()[name]() as pool:
        np.testing.assert_array_equal(
            values(store, net=dies_once, draws=8, inputs=X, label="once", executor=pool), undisturbed)
    once(os.getpid()).unlink()
    with executors()[name]() as pool, pytest.raises(IncompleteError, match="of 8 networks were measured") as error:
        values(store, net=dies_when_it_is_negative, draws=8, inputs=X, label="some", executor=pool)
    lost = [failure.task.index for failure in error.value.failures]
    assert 0 < len(lost) < 8
    np.testing.assert_array_equal(error.value.measurement.log_singular_values, np.delete(undisturbed, lost, axis=0))


def test_a_dead_worker_takes_no_other_network_with_it():
    says = r"6 of 7 .* network 5 .*abruptly"
    with ProcessPoolExecutor(2, FORK) as pool, pytest.raises(IncompleteError, match=says) as error:
        values(net=dies_when_it_is_negative, draws=7, inputs=X, executor=pool)
    others = np.delete(values(net=plain, draws=7, inputs=X), 5, axis=0)
    np.testing.assert_array_equal(error.value.measurement.log_singular_values, others)


@pytest.mark.parametrize("pooled", [False, True])
def test_a_network_that_raises_is_named_and_the_others_are_kept(pooled, tmp_path):
    undisturbed = values(net=plain, draws=8, inputs=X)
    with workers(2) as pool, pytest.raises(IncompleteError) as error:
        values(tmp_path, net=raises_when_it_is_negative, draws=8, inputs=X, label="some",
               executor=pool if pooled else None)
    lost = [failure.task.index for failure in error.value.failures]
    np.testing.assert_array_equal(error.value.measurement.log_singular_values, np.delete(undisturbed, lost, axis=0))
    assert f"{8 - len(lost)} of 8 networks were measured; network {lost[0]} of seed 0" in str(error.value)
    assert "ArithmeticError: below" in str(error.value)
    torch.manual_seed(error.value.failures[0].task.module_seed)  # as the error says
    with pytest.raises(ArithmeticError, match="below"):
        raises_when_it_is_negative()
    assert len(list(tmp_path.glob("*.npz"))) == 8 - len(lost)


@pytest.mark.slow
def test_dask_gives_the_same_bits_and_survives_a_worker(tmp_path):
    from distributed import Client, LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster, \
            Client(cluster) as client:
        executor = client.get_executor(pure=False)
        found = values(tmp_path, draws=10, executor=executor)
        victim, *_ = cluster.workers.values()
        killer = threading.Timer(0.5, os.kill, (victim.process.process.pid, signal.SIGKILL))
        killer.start()
        more = values(tmp_path, draws=200, executor=executor)
        assert not killer.is_alive()
    np.testing.assert_array_equal(more, values(draws=200))
    np.testing.assert_array_equal(found, more[:10])


# ---- files -----------------------------------------------------------------------------------------------------------


def test_a_file_under_another_name_is_set_aside(tmp_path):
    first = values(tmp_path, draws=2)
    one, two = sorted(tmp_path.glob("*.npz"))
    shutil.copy(one, two)
    with pytest.warns(UserWarning, match=f"{two.name}.*answers another question"):
        np.testing.assert_array_equal(values(tmp_path, draws=2), first)


def other_numerics(folder):
    for path in folder.glob("*.npz"):
        answer, question = Measurement.answer(path)
        object.__setattr__(answer, "numerics", 1)
        object.__setattr__(answer, "log_singular_values", answer.log_singular_values + 1e-9)
        answer.save(path, question)


def test_files_of_other_numerics_are_not_mixed_unless_accepted(tmp_path):
    first = values(tmp_path, draws=2)
    other_numerics(tmp_path)
    old = values(Store(tmp_path, accept=[1]), draws=2)
    np.testing.assert_array_equal(old, first + 1e-9)
    with pytest.warns(UserWarning, match=rf"numerics 1 \(this is {NUMERICS}\).*accept=\[1\]"):
        np.testing.assert_array_equal(values(tmp_path, draws=2), first)
    assert len(list(tmp_path.glob("*.npz.numerics1"))) == 2
    mixed = measure(NET, draws=1, seed=5, progress=False)
    object.__setattr__(mixed, "numerics", 1)
    with pytest.raises(ValueError, match=f"numerics is {NUMERICS} and 1"):
        measure(NET, draws=1, progress=False) + mixed


def test_a_disk_that_fills_stops_with_the_path_and_how_to_go_on(tmp_path, monkeypatch):
    values(tmp_path, draws=2)
    real = os.fsync

    def full(file):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"no room for \d+ bytes of .*the same call goes on"):
        values(tmp_path, draws=4)
    assert len(list(tmp_path.iterdir())) == 2
    monkeypatch.setattr(os, "fsync", real)
    np.testing.assert_array_equal(values(tmp_path, draws=4), values(draws=4))


def test_a_disk_that_is_full_is_found_before_measuring(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10**6, 10**6, 10_000))
    monkeypatch.setattr(Task, "run", lambda task: pytest.fail("measured"))
    with pytest.raises(OSError, match=r"100 networks take .* bytes, 1e\+04 are free"):
        values(tmp_path, draws=100)


def test_a_changed_question_is_said(tmp_path):
    values(tmp_path, draws=2)
    changed = [Task(NET, repr(NET), X, 1, 7, index, "cpu", "float64").question for index in range(2)]
    said = Store(tmp_path).other(changed)
    assert said.startswith("2 networks in")
    assert "seed was 0, is 7" in said
    assert "inputs was Gaussian" in said
    same = [{**changed[0], "seed": 0, "inputs": "Gaussian(variance=1.0)", "index": 0}]
    assert Store(tmp_path).other(same) == ""
    assert Store(tmp_path / "new").other(changed) == ""


def test_an_interrupted_call_says_what_is_stored(tmp_path, monkeypatch):
    run, seen = Task.run, []

    def interrupted(task):
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(task)
        return run(task)

    monkeypatch.setattr(Task, "run", interrupted)
    with pytest.raises(KeyboardInterrupt, match=r"2 of 5 networks are stored in .*the same call goes on"):
        values(tmp_path, draws=5)


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
import empirical, rmt
from empirical import Measurement
m = Measurement.load(sys.argv[1])
print(rmt.compare(rmt.FussCatalan(11), m).discrepancy, m)
try:
    empirical.measure
except ModuleNotFoundError as error:
    print(error)
"""


def test_a_measurement_is_loaded_and_compared_without_torch(tmp_path):
    measure(mlp([30] * 12, "linear", "lecun_normal"), draws=2, progress=False).save(tmp_path / "m.npz")
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH, tmp_path / "m.npz"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "rmt[torch]" in done.stdout
    assert "network" in done.stdout


def test_a_measurement_is_text_and_a_table():
    measured = measure(NET, draws=3, inputs_per_network=2, progress=False)
    lines = str(measured).splitlines()
    assert len(lines) == 2 + 6
    assert "seed 0" in lines[0]
    assert len({len(line) for line in lines[1:]}) == 1
    json.dumps(measured.records())
    pandas = pytest.importorskip("pandas")
    frame = measured.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame.columns) == ["network", "input", "k", "log_singular_value"]
    chosen = frame[(frame.network == 1) & (frame.input == 0)].log_singular_value
    np.testing.assert_array_equal(chosen, measured.log_singular_values[1, 0])


class Noisy(nn.Module):
    """Draws a mask of its own on every pass, in evaluation mode too."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x):
        return nn.functional.dropout(self.inner(x), 0.5, training=True)


def test_what_a_module_draws_itself_is_frozen_by_the_seed_and_said():
    first, again, other = (measure(Noisy, draws=3, inputs=X, seed=seed, progress=False) for seed in (0, 0, 1))
    assert first.random
    assert not measure(plain, draws=1, inputs=X, progress=False).random
    np.testing.assert_array_equal(first.log_singular_values, again.log_singular_values)
    assert not np.array_equal(first.log_singular_values, other.log_singular_values)


def test_a_device_that_is_not_there_is_an_error_at_the_door(monkeypatch):
    monkeypatch.setattr(Task, "run", lambda task: pytest.fail("measured"))
    for device in ("quantum", "cuda:77"):
        with pytest.raises(ValueError, match=f"device '{device}' cannot be used here"):
            measure(NET, draws=1, device=device, progress=False)


MEMORY = """
import resource, sys
from empirical import measure
from rmt import mlp
measure(mlp([8, 8]), draws=int(sys.argv[1]), store=sys.argv[2], progress=False)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_the_memory_of_a_thousand_draws_is_that_of_ten(tmp_path):
    few, many = (int(subprocess.run([sys.executable, "-c", MEMORY, str(draws), tmp_path / str(draws)], check=True,
                                    capture_output=True, text=True).stdout) for draws in (10, 1000))
    assert many < 1.2 * few
