"""Kept answers: nothing is computed twice, a damaged file never counts, an interruption loses what is unfinished."""

import io
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from empirical import kept
from empirical.kept import answers
from empirical.labelled import images
from empirical.sgd_noise import GradientNoise
from empirical.workers import workers

RUNS = []  # jobs that have run, in order


@pytest.fixture(autouse=True)
def no_runs():
    RUNS.clear()


@dataclass(frozen=True)
class Powers:
    """Counts that it runs."""

    n: int
    raises: type[BaseException] | None = None

    def run(self, partial):
        RUNS.append(self.n)
        if self.raises:
            raise self.raises(f"in {self.n}")
        return {"square": np.array(self.n**2), "powers": float(self.n) ** np.arange(4),
                "even": np.array([self.n % 2 == 0])}


@dataclass(frozen=True)
class Threads:
    """How many threads numpy and torch have while it runs."""

    def run(self, partial):
        return {"counts": np.array([*(pool["num_threads"] for pool in threadpool_info()), torch.get_num_threads()])}


def get(jobs, folder, executor=None, show=False):
    return answers(jobs, folder, executor, "computing", show)


def assert_same(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert set(one) == set(other)
        for name, values in other.items():
            assert one[name].dtype == values.dtype
            np.testing.assert_array_equal(one[name], values)


JOBS = [Powers(3), Powers(1), Powers(3), Powers(2)]
EXPECTED = [Powers(job.n).run(None) for job in JOBS]


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def file_of(job, folder):
    """The file that keeps one answer."""
    before = set(folder.iterdir()) if folder.exists() else set()
    get([job], folder)
    new, = set(folder.iterdir()) - before
    return new


# ---- once, and in order ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [None, 1, 3])
def test_answers_are_in_order_and_computed_once(tmp_path, threads):
    folder = tmp_path / "a" / "b"
    with ThreadPoolExecutor(threads or 1) as pool:
        executor = pool if threads else None
        assert_same(get(JOBS, folder, executor), EXPECTED)
        assert sorted(RUNS) == [1, 2, 3]
        assert threads == 3 or RUNS == [3, 1, 2]
        assert len(files(folder)) == 3
        RUNS.clear()
        assert_same(get(JOBS[::-1], folder, executor), EXPECTED[::-1])
        assert RUNS == []
        get([*JOBS, Powers(7)], folder, executor)
        assert RUNS == [7]


def test_without_a_folder_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert_same(get(JOBS, None), EXPECTED)
    assert RUNS == [3, 1, 2] * 2
    assert files(tmp_path) == []
    assert get([], tmp_path / "kept") == []


def test_all_of_a_job_decides_which_file_answers_it(tmp_path):
    split = images(size=8)
    jobs = [GradientNoise(8, 0, 4, (1, 2), split), GradientNoise(8, 1, 4, (1, 2), split),
            GradientNoise(8, 0, 4, (2, 1), split), GradientNoise(8, 0, 4, (1, 2), split, dtype="float64")]
    found = get(jobs, tmp_path)
    assert len(files(tmp_path)) == 4
    assert len({one["noise"].tobytes() for one in found}) == 4


def test_another_version_computes_again(tmp_path, monkeypatch):
    get([Powers(1)], tmp_path)
    monkeypatch.setattr(kept, "VERSION", kept.VERSION + 1)
    get([Powers(1)], tmp_path)
    assert RUNS == [1, 1]
    assert len(files(tmp_path)) == 2


def test_worker_processes_give_the_same_arrays(tmp_path):
    jobs = [GradientNoise(8, seed, 5, (1, 2, 5), images(size=8)) for seed in (0, 1, 0, 2)]
    alone = get(jobs, None)
    with workers(2) as pool:
        assert_same(get(jobs, tmp_path, pool), alone)
        assert len(files(tmp_path)) == 3
        threads = get([Threads()], None, pool)[0]
        assert set(threads["counts"]) == {1}
    assert_same(get(jobs, tmp_path), alone)


def test_the_bar_counts_what_is_missing_and_nothing_is_shown_where_all_is_kept(tmp_path, capsys):
    get([Powers(1)], tmp_path)
    assert capsys.readouterr().err == ""
    get(JOBS, tmp_path, show=True)
    out, err = capsys.readouterr()
    assert "computing" in err
    assert "2/2" in err
    get(JOBS, tmp_path, show=True)
    assert out == capsys.readouterr().err == ""


# ---- what is broken --------------------------------------------------------------------------------------------------


def object_array(content):
    buffer = io.BytesIO()
    np.savez(buffer, question=np.load(io.BytesIO(content))["question"], square=np.array([{}], dtype=object))
    return buffer.getvalue()


def no_question(content):
    buffer = io.BytesIO()
    np.savez(buffer, square=np.array(1))
    return buffer.getvalue()


def one_array(content):
    buffer = io.BytesIO()
    np.save(buffer, np.arange(3))
    return buffer.getvalue()


def flipped_number(content):
    place = content.index(np.array(27.0).tobytes())
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize("damage", [
    lambda content: content[: len(content) // 2], lambda content: b"", lambda content: b"no file of numpy's",
    object_array, no_question, one_array, flipped_number])
def test_a_damaged_file_is_set_aside_and_computed_again(tmp_path, damage):
    file = file_of(Powers(3), tmp_path)
    broken = damage(file.read_bytes())
    file.write_bytes(broken)
    with pytest.warns(UserWarning, match=rf"damaged, set aside as {file.name}\.damaged.*computed again"):
        assert_same(get([Powers(3)], tmp_path), EXPECTED[:1])
    assert file.with_name(f"{file.name}.damaged").read_bytes() == broken
    assert_same(get([Powers(3)], tmp_path), EXPECTED[:1])
    assert RUNS == [3, 3]


@pytest.mark.filterwarnings("ignore:damaged")
def test_no_flipped_bit_changes_an_answer(tmp_path):
    """Of every byte of zip's directories, and every third of the rest: found, or without effect."""
    expected = [{"a": np.arange(6.0).reshape(2, 3), "b": np.array(3)}]
    file, changed = tmp_path / "x.npz", []
    kept.write(file, "question", expected[0])
    content = file.read_bytes()
    directory = content.index(b"PK\1\2")
    for place in [*range(0, directory, 3), *range(directory, len(content))]:
        bit = 1 << place % 8
        file.write_bytes(content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :])
        found = kept.read(file, "question")
        try:
            assert_same([found] if found is not None else expected, expected)
        except AssertionError:
            changed.append((place, bit, sorted(found)))
    assert changed == []


def test_a_file_that_answers_another_question_does_not_count(tmp_path):
    one, two = file_of(Powers(1), tmp_path), file_of(Powers(2), tmp_path)
    two.write_bytes(one.read_bytes())
    with pytest.warns(UserWarning, match=f"{two.name}.*it answers another question"):
        assert_same(get([Powers(2)], tmp_path), EXPECTED[3:])
    assert RUNS == [1, 2, 2]


def test_a_folder_that_is_a_file_is_refused_before_computing(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        get(JOBS, tmp_path / "file")
    assert RUNS == []


# ---- what is interrupted ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [0, 1])
@pytest.mark.parametrize("error", [KeyboardInterrupt, ArithmeticError])
def test_an_interruption_propagates_and_what_is_finished_stays(tmp_path, error, threads):
    jobs = [Powers(1), Powers(2, error), Powers(3)]
    with ThreadPoolExecutor(threads or 1) as pool, pytest.raises(error, match="in 2"):
        get(jobs, tmp_path, pool if threads else None)
    assert RUNS[:2] == [1, 2]
    kept_now = len(files(tmp_path))
    assert kept_now == (1 if not threads else 1 + (3 in RUNS))
    RUNS.clear()
    get([Powers(1), Powers(2)], tmp_path)
    assert RUNS == [2]


def test_what_has_not_begun_is_cancelled(tmp_path):
    """One thread, held by the second job until the first one's error is out: the last ones do not run."""
    go = threading.Event()

    @dataclass(frozen=True)
    class Waits(Powers):
        def run(self, partial):
            go.wait(20)
            return super().run(partial)

    with ThreadPoolExecutor(1) as pool:
        with pytest.raises(ArithmeticError, match="in 1"):
            get([Powers(1, ArithmeticError), Waits(2), Powers(3), Powers(4)], tmp_path, pool)
        go.set()
    assert RUNS in ([1, 2], [1])


def test_an_error_in_a_worker_process_propagates(tmp_path):
    jobs = [GradientNoise(8, 0, 4, (1,), images(size=8), dtype="float16")]
    with pytest.raises(ValueError, match="float16"), workers(1) as pool:
        get(jobs, tmp_path, pool)
    assert files(tmp_path) == []


@dataclass(frozen=True)
class Long:
    """Counts to three, and keeps how far it has come; interrupted once it is at `stop`."""

    def run(self, partial):
        state = kept.read(partial, repr(self)) if partial else None
        begin = 0 if state is None else int(state["done"])
        for i in range(begin, 3):
            RUNS.append(i)
            if partial:
                kept.write(partial, repr(self), {"done": np.array(i + 1)})
            if len(RUNS) == 2:
                raise KeyboardInterrupt
        return {"done": np.array(3), "here": np.array(partial is not None)}


def test_a_long_job_goes_on_from_its_partial_file_which_is_removed_at_the_end(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        get([Long()], tmp_path)
    assert [name.split(".")[-1] for name in files(tmp_path)] == ["partial"]
    assert get([Long()], tmp_path)[0]["here"]
    assert RUNS == [0, 1, 2]
    assert [name.split(".")[-1] for name in files(tmp_path)] == ["npz"]
    RUNS[:] = [0, 0]
    assert not get([Long()], None)[0]["here"]


def test_an_interrupted_write_leaves_no_half_file(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            get([Powers(1)], tmp_path)
    assert files(tmp_path) == []
    assert_same(get([Powers(1)], tmp_path), EXPECTED[1:2])


def test_a_job_has_one_blas_thread_and_the_number_is_put_back(tmp_path):
    before = torch.get_num_threads()
    with threadpool_limits(2):
        torch.set_num_threads(2)
        try:
            for folder in (tmp_path, None):
                assert set(get([Threads()], folder)[0]["counts"]) == {1}
                assert set(Threads().run(None)["counts"]) == {2}
        finally:
            torch.set_num_threads(before)
