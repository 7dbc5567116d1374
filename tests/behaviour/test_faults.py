"""The rows of the table of faults that need real processes, signals and limits: what is promised holds."""

import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from empirical import IncompleteError, Measurement, files, kept, measure
from empirical.inputs import array
from empirical.workers import workers
from rmt import mlp

COMMAND = [sys.executable, "-c", "from figures import main; main()"]
NET = mlp([5] * 3)
X = array(np.linspace(-1, 1, 12).reshape(3, 4))
PROC = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")


def values(store=None, draws=2, net=NET, **options):
    return measure(net, draws=draws, store=store, progress=False, **options).log_singular_values


def until(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


# ---- rows 1 and 4: temporary files, and what has a result's name and is none -----------------------------------------


@PROC
def test_row_01_temporary_files_go_when_their_writer_is_gone_and_not_before(tmp_path):
    values(tmp_path)
    name = files._temporary(tmp_path / "x.npz").name
    host, pid, started, token = name.split(".")[-5:-1]
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    mine = tmp_path / name
    dead, reused, elsewhere, old = (tmp_path / f".x.npz.{host}.{pid}.{started}.{token}.tmp" for host, pid, started in (
        (host, gone.pid, started), (host, pid, int(started) + 1), ("other", pid, started), ("other", pid, 1)))
    for path in (mine, dead, reused, elsewhere, old):
        path.touch()
    for path in (mine, old):
        os.utime(path, (0, 0))
    values(tmp_path)
    assert [path.exists() for path in (mine, dead, reused, elsewhere, old)] == [True, False, False, True, False]
    (tmp_path / "kept").mkdir()
    shutil.copy(mine, left := tmp_path / "kept" / dead.name)
    kept.answers([], tmp_path / "kept", None, "", show=False)
    assert not left.exists()


def folder(path):
    (path / "inside").mkdir(parents=True)


def named_socket(path):
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(os.path.relpath(path))


ODD = {"folder": folder, "pipe": os.mkfifo, "socket": named_socket, "dangling": lambda p: p.symlink_to("nothing"),
       "loop": lambda p: p.symlink_to(p.name)}


@pytest.mark.parametrize("kind", ODD)
def test_row_04_what_is_no_file_is_set_aside_and_measured_again(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    first, victim = values(tmp_path), sorted(tmp_path.glob("*.npz"))[0]
    victim.unlink()
    for aside in ("damaged", "damaged2"):
        ODD[kind](victim)
        with pytest.warns(UserWarning, match="damaged, set aside"):
            np.testing.assert_array_equal(values(tmp_path), first)
        assert os.path.lexists(victim.with_name(f"{victim.name}.damaged"))
        if kind == "folder":
            assert os.path.lexists(victim.with_name(f"{victim.name}.{aside}"))
        victim.unlink()
    ODD[kind](victim)
    with pytest.raises(ValueError, match=victim.name):
        Measurement.load(victim)
    with pytest.warns(UserWarning, match="damaged, set aside"):
        assert kept.read(victim, "question") is None


# ---- row 3: no room --------------------------------------------------------------------------------------------------


def test_row_03_a_limit_on_files_stops_with_the_path_and_what_is_stored_stays_whole(tmp_path):
    """A real limit: files of more than 2500 bytes cannot be written."""
    first = values(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2500, limits[1]))
    try:
        with pytest.raises(OSError, match=r"no room for \d+ bytes of .*the same call goes on"):
            values(tmp_path, net=mlp([200] * 3))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len([*tmp_path.iterdir()]) == 2
    np.testing.assert_array_equal(values(tmp_path), first)


def rmt(*arguments, **options):
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=100,
                          stdin=subprocess.DEVNULL, **options)


# ---- rows 6 and 7: networks that end their process -------------------------------------------------------------------


def exits_when_it_is_negative(end=sys.exit):
    """Ends for some networks."""
    module = nn.Linear(4, 4)
    if module.weight[0, 0] < -0.2:
        end(4)
    return module


def dies_when_it_is_negative():
    """Ends past all handlers."""
    return exits_when_it_is_negative(os._exit)


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize(("make", "says"), [(exits_when_it_is_negative, r"sys\.exit\(4\)"),
                                            (dies_when_it_is_negative, r"os\._exit\(4\)|abruptly")])
def test_row_07_a_network_that_exits_is_listed_with_its_seed(make, says, pooled, tmp_path):
    with workers(1) if pooled else nullcontext() as pool, pytest.raises(IncompleteError, match=says) as error:
        values(net=make, draws=6, inputs=X, executor=pool)
    lost = [failure.task.index for failure in error.value.failures]
    assert 0 < len(lost) == 6 - error.value.measurement.networks
    assert f"network {lost[0]} of seed 0 of {make.__name__} (torch.manual_seed(" in str(error.value)


def test_exits_of_this_process_are_put_back_and_children_may_end():
    from empirical.exits import ExitedError, exits_are_errors

    real = os._exit
    with pytest.raises(ExitedError, match=r"it calls os\._exit\(3\) \(.*test_faults"), exits_are_errors():
        os._exit(3)
    assert os._exit is real
    with exits_are_errors():
        child = os.fork()
        if not child:
            os._exit(5)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5


# ---- rows 8 and 27: signals ------------------------------------------------------------------------------------------

LONG_STUDY = 'draws = 300\n[[rows]]\ninit = "xavier_normal"\nactivation = "linear"\ndepth = [19, 20]\nwidth = 60\n'
LONG = ["measure", "--widths", "60x20", "--draws", "3000", "--yes"]


def living(session):
    stats = [stat.read_text() for stat in Path("/proc").glob("[0-9]*/stat") if stat.exists()]
    fields = [stat.rpartition(")")[2].split() for stat in stats]
    return sum(int(field[3]) == session and field[0] != "Z" for field in fields)


def signalled(arguments, number, ready, tmp_path):
    """Start a command, send it a signal once it is ready, and return its status, what it said and how long it took."""
    with open(tmp_path / "said", "w") as said:
        process = subprocess.Popen([*COMMAND, *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=said,
                                   stdin=subprocess.DEVNULL, start_new_session=True,
                                   preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
        try:
            assert until(ready)
            start = time.monotonic()
            process.send_signal(number)
            status = process.wait(20)
            took = time.monotonic() - start
            assert until(lambda: living(process.pid) == 0, 10)  # its workers, and their server
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    return status, (tmp_path / "said").read_text(), took


def whole(folder):
    return all(Measurement.load(path).networks == 1 for path in folder.glob("*.npz"))


@PROC
@pytest.mark.parametrize(("number", "expected"), [
    (signal.SIGINT, 3), (signal.SIGTERM, 143), pytest.param(signal.SIGHUP, 129, marks=pytest.mark.slow)])
def test_row_08_a_signal_stops_a_measurement_within_two_seconds_and_says_how_to_go_on(number, expected, tmp_path):
    store = tmp_path / "store"
    status, said, took = signalled([*LONG, "--store", store], number, lambda: len([*store.glob("*.npz")]) > 3, tmp_path)
    assert status == expected
    assert f"results are stored in {store}; the same command goes on" in said
    assert "Traceback" not in said
    assert took < 2 * _SLOW
    assert whole(store)
    assert not [*store.glob(".*.tmp")]


@PROC
@pytest.mark.slow
@pytest.mark.parametrize(("number", "expected"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_row_27_the_workers_of_a_report_end_with_it(number, expected, tmp_path):
    (tmp_path / "study.toml").write_text(LONG_STUDY)
    store = tmp_path / "out" / "store"
    status, said, _ = signalled(["report", tmp_path / "study.toml", "--out", tmp_path / "out"], number,
                                lambda: len([*store.glob("*.npz")]) > 3, tmp_path)
    assert status == expected
    assert number == signal.SIGKILL or "the same command goes on" in said
    assert whole(store)


@PROC
@pytest.mark.slow
def test_row_08_ctrl_c_while_the_workers_start_is_one_line_too(tmp_path):
    (tmp_path / "study.toml").write_text(LONG_STUDY)
    for wait in (0.0, 0.5, 1.5):
        def ready(wait=wait):
            return (tmp_path / f"out{wait}").exists() and not time.sleep(wait)

        status, said, took = signalled(["report", tmp_path / "study.toml", "--out", tmp_path / f"out{wait}"],
                                       signal.SIGINT, ready, tmp_path)
        assert status == 3
        assert "results are stored in" in said
        assert "Traceback" not in said
        assert took < 2 * _SLOW


@PROC
def test_row_27_workers_end_with_a_parent_that_is_killed(tmp_path):
    code = """
        import os, sys, time
        from empirical.workers import workers
        if __name__ == "__main__":
            with workers(2) as pool:
                pids = {pool.submit(os.getpid).result() for _ in range(20)}
                pool.submit(time.sleep, 300)
                open(sys.argv[1] + ".new", "w").write(" ".join(map(str, pids)))
                os.rename(sys.argv[1] + ".new", sys.argv[1])
                time.sleep(300)
        """
    (tmp_path / "run.py").write_text(textwrap.dedent(code))
    process = subprocess.Popen([sys.executable, tmp_path / "run.py", tmp_path / "pids"], start_new_session=True,
                               stderr=subprocess.DEVNULL)
    assert until((tmp_path / "pids").exists)
    assert living(process.pid) >= 3
    process.kill()
    process.wait()
    assert until(lambda: living(process.pid) == 0, 10)


_SLOW = 1 + os.getloadavg()[0] / (os.cpu_count() or 1)  # other work on this machine


# ---- row 28: a user's file -------------------------------------------------------------------------------------------

NOISY = """
import atexit, os, random, sys, warnings
import numpy as np
import torch

print("on import")
sys.__stdout__.write("past the name")
os.write(1, b"past Python")
os.system("echo from a shell")
atexit.register(print, "at the end")
os.chdir("/")
os.environ["RMT_TEST"] = "changed"
sys.path.append("/nowhere")
torch.set_default_dtype(torch.float64)
torch.set_grad_enabled(False)
torch.manual_seed(5)
random.seed(5)
np.random.seed(5)
np.seterr(all="raise")
warnings.simplefilter("error")

class Loud(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = torch.nn.Linear(4, 4)

    def forward(self, x):
        print("forward")
        return self.inner(x)

def make():
    print("made")
    return Loud()
"""


def test_row_28_standard_output_is_json_whatever_a_file_prints(tmp_path):
    (tmp_path / "noisy.py").write_text(NOISY)
    done = rmt("advise", tmp_path / "noisy.py:make", "--input", "4", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["outputs"] == 4
    for text in ("on import", "past the name", "past Python", "from a shell", "made", "forward", "at the end"):
        assert text in done.stderr


def test_row_28_what_a_file_changes_is_put_back(tmp_path):
    import random
    import warnings

    import torch
    from click.testing import CliRunner

    from figures.cli import cli

    def state():
        return (os.getcwd(), os.environ.get("RMT_TEST"), [*sys.path], torch.get_default_dtype(), np.geterr(),
                torch.is_grad_enabled(), torch.get_rng_state().tolist(), random.getstate(), [*warnings.filters],
                np.random.get_state()[1].tolist(), signal.getsignal(signal.SIGINT), sys.stdout)  # noqa: NPY002

    quiet = NOISY.replace('atexit.register(print, "at the end")', "")  # of pytest's own process
    (tmp_path / "noisy.py").write_text(quiet + "import signal\nsignal.signal(2, 1)\n")
    before = state()
    done = CliRunner().invoke(cli, ["advise", f"{tmp_path}/noisy.py:make", "--input", "4", "--json"])
    assert done.exit_code == 0, done.output
    json.loads(done.stdout)
    assert state() == before


@pytest.mark.parametrize(("code", "status", "says"), [
    ("def make():\n    import sys\n    sys.exit(0)", 2, "mine.py:make: it calls sys.exit(0) (FILE:3: sys.exit(0))"),
    ("import os\nos._exit(0)", 2, "mine.py:make: it calls os._exit(0) (FILE:2: os._exit(0))"),
    ("def make():\n    quit()", 2, "it calls sys.exit(None)"),
    ("class Odd(BaseException):\n    pass\ndef make():\n    raise Odd(3)", 2, "make: Odd: 3 (FILE:4: raise Odd(3))"),
    ("def make():\n    raise KeyboardInterrupt", 3, "rmt: interrupted"),
    ("import os, time\ndef make():\n    os.kill(os.getpid(), 2)\n    time.sleep(9)", 3, "rmt: interrupted"),
    ("import torch\nclass M(torch.nn.Module):\n    def forward(self, x):\n        exit(1)\nmake = M", 2, "sys.exit(1)"),
], ids=["sys.exit", "os._exit", "quit", "BaseException", "KeyboardInterrupt", "Ctrl-C", "in forward"])
def test_row_28_a_file_that_ends_or_is_interrupted_is_said(code, status, says, tmp_path):
    from click.testing import CliRunner

    from figures.cli import cli

    (tmp_path / "mine.py").write_text(code)
    done = CliRunner().invoke(cli, ["advise", f"{tmp_path}/mine.py:make", "--input", "4", "--json"])
    assert (done.exit_code, done.stdout) == (status, ""), done.output
    assert says.replace("FILE", f"{tmp_path}/mine.py") in done.stderr


def test_row_28_code_that_swallows_ctrl_c_is_ended_all_the_same(tmp_path):
    code = """
        import os, time
        def make():
            os.kill(os.getpid(), 2)
            while True:
                try:
                    time.sleep(0.1)
                except BaseException:
                    pass
        """
    (tmp_path / "mine.py").write_text(textwrap.dedent(code))
    done = rmt("advise", tmp_path / "mine.py:make", "--input", "4")
    assert (done.returncode, done.stderr.strip()) == (3, "rmt: interrupted")


def test_row_13_a_file_is_run_as_its_author_runs_it_and_help_says_so(tmp_path):
    """Neighbours are imported also by the function that is called later; dataclasses find their module."""
    (tmp_path / "beside.py").write_text("import torch\ndef layer(n):\n    return torch.nn.Linear(n, 3)\n")
    (tmp_path / "mine.py").write_text("from __future__ import annotations\nfrom dataclasses import dataclass\n"
                                      "@dataclass\nclass Config:\n    width: int = 4\n"
                                      "def make():\n    import beside\n    return beside.layer(Config().width)\n")
    from click.testing import CliRunner

    from figures.cli import cli

    run = CliRunner()
    assert "The file is run" in run.invoke(cli, ["advise", "--help"]).stdout
    for neighbour, outputs in ((None, 3), ("import torch\ndef layer(n):\n    return torch.nn.Linear(n, 2)\n", 2)):
        if neighbour:
            (tmp_path / "other").mkdir()
            shutil.copy(tmp_path / "mine.py", tmp_path / "other" / "mine.py")
            (tmp_path / "other" / "beside.py").write_text(neighbour)
        place = tmp_path / "other" if neighbour else tmp_path
        done = run.invoke(cli, ["advise", f"{place}/mine.py:make", "--input", "4", "--json"])
        assert json.loads(done.stdout)["outputs"] == outputs
