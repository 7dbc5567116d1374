"""One BLAS thread a process: with `-n 2` the threads of small products fight and triple the time."""

import pytest
from threadpoolctl import threadpool_limits


@pytest.fixture(scope="session", autouse=True)
def one_blas_thread():
    with threadpool_limits(1):
        yield
