"""Every Python block of the README runs, and what it prints where it says so is right."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("code", BLOCKS, ids=[f"block{i}" for i in range(len(BLOCKS))])
def test_the_block_runs(code, tmp_path, monkeypatch, capsys):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    assert "nan" not in capsys.readouterr().out


def test_the_study_of_the_readme_is_one(tmp_path):
    from empirical.study import load

    (text,) = re.findall(r"```toml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (tmp_path / "study.toml").write_text(text)
    assert len(load(tmp_path / "study.toml").rows) == 3 * 2 * 2 * 2


def test_the_atoms_and_support_it_prints_are_right(capsys):
    exec(BLOCKS[0], {})
    out = capsys.readouterr().out
    assert "{0.0: 0.5}" in out
    assert "4.848" in out


def test_the_extras_that_it_shows_bring_what_it_shows():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (names,) = re.findall(r"rmt\[(.*)\]", extras["all"][0])
    everything = " ".join(needed for name in names.split(",") for needed in extras[name])
    for package in ("pandas", "scikit-learn", "matplotlib", "torch", "click", "distributed"):
        assert package in everything
    assert "pandas" in " ".join(extras["data"])
