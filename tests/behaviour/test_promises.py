"""The table of faults and bad input, row by row: which tests hold what is promised."""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

LINES = [line for line in (ROOT / "tests" / "promises.txt").read_text().splitlines() if not line.startswith("#")]


def promises():
    """The rows of the table, each with its tests."""
    found = {}
    for line in LINES:
        if line.startswith(" "):
            [*found.values()][-1].append(line.strip())
        else:
            found[int(line.partition(" ")[0])] = []
    return found


@cache
def names_in(file):
    """The names of the tests in a file."""
    tree = ast.parse((ROOT / "tests" / file).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("row", range(1, 33))
def test_every_row_has_its_tests(row):
    tests = promises()[row]
    assert tests
    for test in tests:
        file, _, name = test.partition("::")
        assert name in names_in(file), test


FORBIDDEN = {("torch", "load"), ("pickle", "load"), ("pickle", "loads"), ("joblib", "load"), ("marshal", "loads")}


@pytest.mark.parametrize("package", ["rmt", "empirical", "figures"])
def test_nothing_is_unpickled(package):
    """No file is read that could run code: numpy's are read without objects, and nothing else is."""
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                assert tuple(name.split(".")) not in FORBIDDEN, f"{path}:{node.lineno}"
                if name in ("np.load", "numpy.load"):
                    allowed = {key.arg: ast.unparse(key.value) for key in node.keywords}
                    assert allowed.get("allow_pickle") == "False", f"{path}:{node.lineno}"
