"""The command as a shell sees it: what it loads before it answers, its version, pipes whose reader has left."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import empirical
import rmt
from figures import catalogue
from figures.cli import cli

ROOT = Path(rmt.__file__).parent.parent
SLOW = ("torch", "matplotlib", "sympy", "rich", "pandas", "jinja2", "sklearn", "distributed", "rmt.laws",
        "scipy.optimize", "scipy.interpolate", "scipy.linalg")
LOADED = f"""
import contextlib, io, json, sys
from figures import main
found = []
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["rmt", *arguments]
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            main()
        except SystemExit as end:
            status = end.code
    found.append((status, out.getvalue(), [name for name in {("numpy", *SLOW)} if name in sys.modules]))
print(json.dumps(found))
"""


def asked(*calls):
    """Run commands in one fresh process; return (exit status, what was said, what slow modules are loaded by then)."""
    done = subprocess.run([sys.executable, "-c", LOADED, json.dumps([call.split() for call in calls])],
                          capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return dict(zip(calls, json.loads(done.stdout), strict=True))


def test_help_and_errors_of_the_options_load_not_even_numpy():
    helps = ("--help", "-h", "--version", *(f"{name} {option}" for name in cli.commands for option in ("-h", "--help")))
    wrong = ("nonsense", "predict", "predict --widhts 9", "measure --draws two", "advise none.py:make --input 3",
             "advise README.md:a --input 3", "advise examples/model.py:make_model --input 3,x", "report")
    for call, (status, said, names) in asked(*helps, *wrong).items():
        assert (status, names) == (2 if call in wrong else 0, []), (call, said)
        assert said.count("\n") == 1 or call in helps


def test_errors_of_names_and_values_load_neither_torch_nor_the_laws():
    network = "--widths 9x2"
    calls = ("predict --widths 9x", *(f"predict {network} {option}" for option in (
        "--init xavier_norml", "--activation rellu", "--inputs digit", "--inputs digits", "--init sparse(2)",
        "--out a.b", "--bias-std nan", "--init torch_default --bias-std 1", "--seed -1")),
        *(f"measure {network} {option}" for option in ("--draws 1000000", "--draws 0", "--seed -1")),
        *(f"compare {network} {option}" for option in ("--tolerance 2", "--measurement none.npz", "--out a.b")),
        "phase --activation tahn", "phase --sigma-w 1,2", "phase --bias-std 0,1,1000", "figures fig77",
        "figures fig8 --size huge", "figures fig8 --seed -1", "report none.toml", "report README.md")
    for call, (status, said, names) in asked(*calls).items():
        assert (status, {*names} - {"numpy"}) == (2, set()), (call, said)
        assert said.startswith("rmt: "), call
        assert said.count("\n") == 1, call


ROW = '[[rows]]\ninit = "orthogonal"\nactivation = "relu"\ndepth = 1\nwidth = 9\n'
BROKEN = (
    "[[rows]\n", ROW + "depht = 1", ROW.replace("orthogonal", "orthogonl"), ROW.replace("relu", "rellu"),
    ROW.replace("1", "1e99"), ROW + 'norm = "btach"', ROW + 'architecture = "resnet"\nscale = "1/sqr(L)"',
    ROW + "bias_std = nan", ROW.replace("orthogonal", "torch_default") + "bias_std = 1", ROW + "activate_last = 3",
    ROW + 'architecture = "resnet"\nactivate_last = false', 'size = "huge"\n' + ROW, '[phase]\nactivation = "tahn"',
    '[phase]\nactivation = "tanh"\nsigma_w = [0, 1]\nbias_std = [0, 1, 2]', '[[sections]]\nfigures = ["fig77"]',
)


def test_an_error_in_a_study_loads_neither_torch_nor_the_laws(tmp_path):
    for i, text in enumerate(BROKEN):
        (tmp_path / f"{i}.toml").write_text(text)
    found = asked(*(f"report {tmp_path / f'{i}.toml'}" for i in range(len(BROKEN))))
    for text, (status, said, names) in zip(BROKEN, found.values(), strict=True):
        assert (status, {*names} - {"numpy"}) == (2, set()), (text, said)
        assert said.count("\n") == 1, text


def test_a_prediction_needs_no_torch():
    [(status, said, names)] = asked("predict --widths 9x2 --json").values()
    assert (status, {"torch", "matplotlib", "sympy"} & {*names}) == (0, set()), said


def test_the_version_and_the_module():
    done = subprocess.run([sys.executable, "-m", "rmt", "--version"], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"rmt {rmt.__version__}\n", "")


def test_functions_stay_functions_whatever_module_is_loaded():
    """`import empirical.measure` would put the module where the function is, were it not for the package."""
    code = ("import empirical.measure, empirical.jacobian, empirical.describe, empirical.weights, empirical as e, sys; "
            "print([callable(f) for f in (e.measure, e.jacobian, e.describe, e.weights)], callable(e.inputs))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "[True, True, True, True] False\n", done.stderr
    assert {*empirical.__all__} <= {*dir(empirical)}
    for package in (rmt, empirical):
        assert all(hasattr(package, name) for name in package.__all__)
        with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
            _ = package.nonsense


def test_the_public_names_are_those_of_their_file():
    """`rmt.__all__` and what rmt/public.py hands on are one list."""
    import rmt.public

    assert sorted(name for name in vars(rmt.public) if not name.startswith("_")) == rmt.__all__


# ---- pipes --------------------------------------------------------------------------------------------


def piped(*arguments, closed=("stdout",), buffered=True):
    """Run the command with streams whose reader has left; return its exit status and what the others got."""
    reader, writer = os.pipe()
    os.close(reader)
    streams = {name: writer if name in closed else subprocess.PIPE for name in ("stdout", "stderr")}
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    done = subprocess.run([sys.executable, "-m", "rmt", *map(str, arguments)], **streams, text=True, cwd=ROOT,
                          env=environment | ({} if buffered else {"PYTHONUNBUFFERED": "1"}))
    os.close(writer)
    return done.returncode, (done.stdout or "") + (done.stderr or "")


@pytest.mark.parametrize("buffered", [True, False])
@pytest.mark.parametrize("arguments", ["predict --widths 9x200", "--help", "phase -h"])
def test_a_reader_that_has_left_is_no_error(arguments, buffered):
    assert piped(*arguments.split(), buffered=buffered) == (141, "")


def test_a_comparison_that_nobody_reads_does_not_differ():
    compare = ("compare", "--widths", "9x2", "--draws", "2")
    status, said = piped(*compare)
    assert status == 141
    assert "Traceback" not in said
    assert piped(*compare, closed=("stderr",)) == (141, "")  # that of the progress bar
    assert piped("nonsense", closed=("stdout", "stderr"))[0] == 2  # nobody hears what was wrong


def test_a_full_disk_leaves_the_work_incomplete():
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    for size in (2, 200):
        with full.open("w") as out:
            done = subprocess.run([sys.executable, "-m", "rmt", "predict", "--widths", f"9x{size}"], stdout=out,
                                  stderr=subprocess.PIPE, text=True, cwd=ROOT)
        assert done.returncode == 3
        assert done.stderr.startswith("rmt: incomplete: ")
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(("arguments", "status"), [
    (("predict", "--widths", "9x2"), 3), (("nonsense",), 2), (("--help",), 3)])
def test_where_nothing_can_be_said_the_status_is_true_all_the_same(arguments, status):
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    with full.open("w") as out:
        done = subprocess.run([sys.executable, "-m", "rmt", *arguments], stdout=out, stderr=out, cwd=ROOT)
    assert done.returncode == status


def test_a_closed_output_is_no_traceback():
    done = subprocess.run(f"{sys.executable} -m rmt predict --widths 9x2 >&-", shell=True, stderr=subprocess.PIPE,
                          text=True, cwd=ROOT)
    assert "Traceback" not in done.stderr


# ---- figures by name ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("given", "name"), [
    ("fig7", "bjorck2018/fig7"), ("bjorck2018/fig7", "bjorck2018/fig7"), ("FIG7", "bjorck2018/fig7"),
    ("condition_number", "bjorck2018/condition-number"), ("phase-diagram", "gallery/phase-diagram"),
])
def test_a_figure_is_found_by_its_last_part(given, name):
    assert catalogue.full_name(given) == name
    assert catalogue.entry(given).name == name


@pytest.mark.parametrize(("given", "says"), [
    ("fig77", "unknown figure 'fig77'; did you mean 'bjorck2018/fig7'"), ("one", "'one' may be 'a/one' or 'b/one'"),
    ("c/one", "did you mean"), ("phase-diagramm", "did you mean 'gallery/phase-diagram'"), ("xyz", "one of: a/one, ")])
def test_a_figure_that_is_none_or_two_is_refused(given, says, monkeypatch):
    names = catalogue.names()
    monkeypatch.setattr(catalogue, "names", lambda: ["a/one", "b/one", *names])
    with pytest.raises(ValueError, match=says.replace("(", r"\(")):
        catalogue.full_name(given)


def test_a_figure_given_by_its_last_part_is_written_under_its_name(tmp_path):
    done = CliRunner().invoke(cli, ["figures", "fig8", "--out", str(tmp_path), "--json"])
    assert json.loads(done.stdout)["name"] == "bjorck2018/fig8"
    assert (tmp_path / "bjorck2018" / "fig8.svg").exists()
