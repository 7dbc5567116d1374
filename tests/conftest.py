"""One BLAS thread a process: with `-n 2` the threads of small products fight and triple the time."""

import signal
import sys
import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_limits


@pytest.fixture(scope="session", autouse=True)
def one_blas_thread():
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="session", autouse=True)
def signals_are_heard():
    """Also where the tests run in the background of a shell, or under nohup, whose processes ignore them."""
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if threading.current_thread() is threading.main_thread() and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch):
    """Text is not folded, whatever the terminal that the tests run in."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture(autouse=True)
def no_registrations_left():
    """Functions of one's own that one test registers do not name those of the next."""
    registry = sys.modules.get("empirical.registry")
    before = dict(registry._registered) if registry else {}
    yield
    if registry := sys.modules.get("empirical.registry"):
        registry._registered.clear()
        registry._registered.update(before)


@pytest.fixture(autouse=True)
def no_figures_left():
    """Pictures of one test do not pile up in the next: pyplot warns of more than twenty."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture
def cifar_folder(tmp_path):
    """Five training batches of four images and a test batch of three, pixels and labels known."""
    rng = np.random.default_rng(0)
    place = tmp_path / "cifar-10-batches-bin"
    place.mkdir()
    for name, count in [*((f"data_batch_{i}.bin", 4) for i in range(1, 6)), ("test_batch.bin", 3)]:
        records = rng.integers(0, 256, (count, 3073), dtype=np.uint8)
        records[:, 0] %= 10
        (place / name).write_bytes(records.tobytes())
    return tmp_path
