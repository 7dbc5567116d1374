"""The page: whole, self-contained, escaped; a second run measures nothing; Ctrl-C loses nothing."""

import csv
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # the page is made by a process, and once more for each pytest worker

STUDY = """
title = 'A <script>alert("1")</script> & more'
seed = 3
draws = 4
[[rows]]
init = ["xavier_normal", "orthogonal"]
activation = "linear"
depth = [1, 2]
width = 20
inputs = "gaussian"
[[rows]]
init = "xavier_normal"
activation = "relu # <b>"
depth = 1
width = 20
inputs = "digits"
[[rows]]  # as a row above, with other draws
init = "orthogonal"
activation = "linear"
depth = 1
width = 20
draws = 3
[products]
matrices = [1, 3]
width = 20
draws = 3
bins = 10
"""


def command(study, out):
    return [sys.executable, "-c", "from figures import main; main()", "report", str(study), "--out", str(out)]


def run(study, out):
    return subprocess.run(command(study, out), capture_output=True, text=True)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The folder of a report on a small study."""
    folder = tmp_path_factory.mktemp("report")
    (folder / "study.toml").write_text(STUDY)
    done = run(folder / "study.toml", folder / "out")
    assert done.returncode == 0, done.stderr
    return folder / "out"


class Elements(HTMLParser):
    """Every element with its attributes; open elements are closed in order."""

    VOID = ("meta", "br", "img", "link", "hr", "input")

    def __init__(self, text):
        super().__init__()
        self.found, self.stack = [], []
        self.feed(text)
        assert self.stack == []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag


def test_all_files_are_there_with_a_row_each(page):
    assert {p.name for p in page.iterdir()} >= {"index.html", "summary.csv", "summary.md", "summary.tex", "store"}
    with open(page / "summary.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 + 1 + 1
    assert {"verdict", "discrepancy"} <= set(rows[0])
    assert {row["verdict"] for row in rows} <= {"agrees", "differs", "undecided"}
    assert all(0 <= float(row["interval_low"]) <= float(row["discrepancy"]) <= float(row["interval_high"]) <= 1
               for row in rows)
    assert all(float(row["discrepancy"]) <= float(row["raw_discrepancy"]) <= 1 for row in rows)
    assert all(row["verdict"] == "agrees" for row in rows
               if (row["scheme"], row["activation"], row["networks"]) == ("orthogonal", "linear", "4"))
    assert not any("nan" in value.lower() for row in rows for value in row.values())
    markdown = (page / "summary.md").read_text().splitlines()
    assert len(markdown) == 2 + len(rows)
    assert len({len(re.findall(r"(?<!\\)[|]", line)) for line in markdown}) == 1
    latex = (page / "summary.tex").read_text()
    assert latex.count(r"\\" + "\n") == 1 + len(rows)
    assert r"xavier\_normal" in latex
    assert re.search(r"(?<!\\)[#_%^]", latex) is None


def test_the_page_needs_nothing_from_anywhere(page):
    text = (page / "index.html").read_text()
    elements = Elements(text).found
    tags = Counter(tag for tag, _ in elements)
    assert not {"script", "link", "img", "iframe", "object", "image", "foreignobject"} & set(tags)
    assert tags["svg"] == 6 + 1 + 1  # rows, a trend with depth, products
    for _, attributes in elements:
        assert not any(key.startswith("on") for key in attributes)
        for key in ("href", "src", "xlink:href"):
            assert attributes.get(key, "#").startswith("#")
    assert re.search("@import|@font-face", text) is None
    assert set(re.findall(r"url\((.)", text)) <= {"#"}


def test_every_link_has_one_target(page):
    elements = Elements((page / "index.html").read_text()).found
    ids = Counter(attributes["id"] for _, attributes in elements if "id" in attributes)
    links = {value.removeprefix("#") for _, attributes in elements
             for key, value in attributes.items() if key.endswith("href")}
    assert links <= set(ids)
    assert {name: count for name, count in ids.items() if count > 1} == {}


def test_names_are_text_not_markup(page):
    text = (page / "index.html").read_text()
    assert "<title>A &lt;script&gt;" in text
    assert "<b>," not in text
    assert "# &lt;b&gt;" in text


def test_a_second_run_measures_nothing_and_gives_the_same_page(page):
    before = {p.name: p.read_bytes() for p in page.iterdir() if p.is_file()}
    stored = {p.name: p.stat().st_mtime_ns for p in (page / "store").iterdir()}
    assert run(page.parent / "study.toml", page).returncode == 0
    assert stored == {p.name: p.stat().st_mtime_ns for p in (page / "store").iterdir()}
    assert before == {p.name: p.read_bytes() for p in page.iterdir() if p.is_file()}


LONGER = """
draws = 150
[[rows]]
init = "xavier_normal"
activation = "linear"
depth = [19, 20]
width = 60
"""


def living(group):
    """Return the processes of a group that are no zombies."""
    stats = [stat.read_text() for stat in Path("/proc").glob("[0-9]*/stat") if stat.exists()]
    fields = [stat.rpartition(")")[2].split() for stat in stats]
    return sum(int(field[2]) == group and field[0] != "Z" for field in fields)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("group", [True, False], ids=["terminal", "parent only"])
def test_interrupting_a_report_keeps_what_is_stored_and_leaves_no_process(tmp_path, group):
    study, out = tmp_path / "study.toml", tmp_path / "out"
    study.write_text(LONGER)
    process = subprocess.Popen(command(study, out), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               start_new_session=True,  # a shell's background job ignores SIGINT, and hands that on
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    try:
        end = time.monotonic() + 60
        while len(list(out.glob("store/*.npz"))) < 5 and time.monotonic() < end:
            time.sleep(0.02)
        start = time.monotonic()
        (os.killpg if group else os.kill)(process.pid, signal.SIGINT)
        stdout, stderr = process.communicate(timeout=30)
        assert time.monotonic() - start < 6
        assert process.returncode == 3, stderr
        assert "Traceback" not in stderr
        said = [line for line in stderr.splitlines() if line.strip() and "measuring" not in line]
        assert len(said) == 1
        assert said[0].startswith("rmt: interrupted")
        assert stdout == ""
        end = time.monotonic() + 5
        while living(process.pid) and time.monotonic() < end:
            time.sleep(0.05)
        assert living(process.pid) == 0
    finally:
        process.kill()
    stored = {p.name: p.stat().st_mtime_ns for p in out.glob("store/*.npz")}
    assert 5 <= len(stored) < 300
    assert not (out / "index.html").exists()
    if group:
        done = run(study, out)
        assert done.returncode == 0, done.stderr
        after = {p.name: p.stat().st_mtime_ns for p in out.glob("store/*.npz")}
        assert len(after) == 300
        assert stored.items() <= after.items()


def test_a_row_whose_jacobian_is_zero_does_not_take_the_others_with_it(tmp_path):
    (tmp_path / "study.toml").write_text("draws = 2\n[[rows]]\ninit = \"xavier_normal\"\ndepth = 1\nwidth = 20\n"
                                         "activation = [\"relu\", \"threshold(30, 0)\", \"tanh\"]\n")
    done = run(tmp_path / "study.toml", tmp_path / "out")
    assert done.returncode == 3
    assert "threshold(30, 0)" in done.stderr
    assert (tmp_path / "out" / "index.html").exists()
    with open(tmp_path / "out" / "summary.csv") as file:
        assert {row["activation"] for row in csv.DictReader(file)} >= {"relu", "tanh"}
