"""The house: imports point one way, files stay short, public names are documented."""

import ast
import importlib
import inspect
from fractions import Fraction
from pathlib import Path

import pytest

import rmt

ROOT = Path(rmt.__file__).parent.parent
FILES = {path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__"): path
         for package in ("rmt", "empirical", "figures") for path in sorted((ROOT / package).rglob("*.py"))}
HEAVY = {"torch", "matplotlib", "mpl_toolkits", "sklearn", "distributed", "pandas", "rich", "jinja2", "click"}


def imports(path):
    """Every module a file imports, and whether only inside a function or for type checking."""
    tree = ast.parse(path.read_text())
    late = {id(inner) for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            or (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
            for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((name.name, id(node) in late) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports say their whole name"
            known = [f"{node.module}.{name.name}" for name in node.names]
            yield from ((full if full in FILES else node.module, id(node) in late) for full in known)


def typing_only(path):
    tree = ast.parse(path.read_text())
    return {inner.module for node in ast.walk(tree)
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            for inner in ast.walk(node) if isinstance(inner, ast.ImportFrom)}


def within(module, *packages):
    return any(module == package or module.startswith(package + ".") for package in packages)


# who, what of the repository it may import
MAY = [
    ("rmt.checks", ()),
    ("rmt.text", ()),
    ("rmt.errors", ()),
    ("rmt.__main__", ("figures",)),  # `python -m rmt` is the command, above everything
    ("rmt.laws", ("rmt.laws", "rmt.checks", "rmt.text", "rmt.errors", "rmt.plotting")),
    ("rmt.finite", ("rmt.finite", "rmt.laws", "rmt.checks", "rmt.text")),
    ("rmt.networks", ("rmt.networks", "rmt.finite", "rmt.laws", "rmt.checks", "rmt.text", "rmt.errors",
                      "rmt.plotting")),
    ("rmt.cdf_distance", ("rmt.laws",)),
    ("rmt.smooth_statistics", ("rmt.laws",)),
    ("rmt.independence", ()),
    ("rmt.provenance", ()),
    ("rmt.measured_values", ()),
    ("rmt.agreement", ("rmt.laws", "rmt.finite", "rmt.cdf_distance", "rmt.smooth_statistics", "rmt.independence",
                       "rmt.provenance", "rmt.measured_values", "rmt.checks", "rmt.text", "rmt.plotting")),
    ("rmt.plotting", ("rmt.laws", "rmt.agreement", "rmt.checks", "rmt.text")),
    ("rmt", ("rmt",)),
    ("empirical", ("empirical", "rmt")),
    ("figures", ("figures", "empirical", "rmt")),
]


@pytest.mark.parametrize("module", FILES)
def test_imports_point_one_way(module):
    allowed = next(packages for who, packages in MAY if within(module, who))
    for imported, _ in imports(FILES[module]):
        if within(imported, "rmt", "empirical", "figures"):
            assert within(imported, *allowed), f"{module} imports {imported}"


@pytest.mark.parametrize("module", [module for module in FILES if within(module, "rmt")])
def test_the_core_needs_no_heavy_library(module):
    """rmt never imports torch; matplotlib only in plotting.py, inside functions, and elsewhere as a type."""
    for imported, late in imports(FILES[module]):
        top = imported.partition(".")[0]
        if top in ("matplotlib", "mpl_toolkits"):
            assert late, f"{module} imports {imported} on loading"
            assert module == "rmt.plotting" or imported in typing_only(FILES[module])
        elif top in ("sympy", "mpmath"):
            assert late or module == "rmt.algebraic"  # which `rmt` loads when it is asked for
        else:
            assert top not in HEAVY, f"{module} imports {imported}"


def test_no_circle_on_loading():
    """Modules can be put in an order in which each imports only earlier ones."""
    left = {module: {name for name, late in imports(path) if name in FILES and not late} - {module}
            for module, path in FILES.items()}
    while left:
        free = [module for module, needs in left.items() if not needs & left.keys()]
        assert free, f"a circle among {sorted(left)}"
        for module in free:
            del left[module]


@pytest.mark.parametrize("module", FILES)
def test_a_file_is_short(module):
    lines = FILES[module].read_text().splitlines()
    assert len(lines) < 400
    if within(module, "rmt.laws.named"):
        assert len(lines) < 100  # a closed form may need room


def public(module):
    """What a module says is public: the names of __all__, else what it defines without an underscore."""
    names = getattr(module, "__all__", None)
    if names is not None:
        return {name: getattr(module, name) for name in names}
    return {name: thing for name, thing in vars(module).items()
            if not name.startswith("_") and getattr(thing, "__module__", None) == module.__name__
            and (inspect.isclass(thing) or inspect.isfunction(thing))}


def documented(thing):
    text = inspect.getdoc(thing) or ""
    return bool(text) and not text.startswith(f"{getattr(thing, '__name__', '')}(")  # not a dataclass's own


@pytest.mark.parametrize("module", [module for module in FILES if not within(module, "figures.__main__")])
def test_public_names_have_a_docstring(module):
    for heavy in ("torch", "matplotlib"):
        pytest.importorskip(heavy)
    loaded = importlib.import_module(module)
    assert documented(loaded), module
    for name, thing in public(loaded).items():
        if inspect.ismodule(thing) or inspect.isclass(thing) or callable(thing):
            assert documented(thing), f"{module}.{name}"
        if inspect.isclass(thing) and thing is not Fraction:  # of the standard library
            for attribute, member in vars(thing).items():
                if not attribute.startswith("_") and (inspect.isfunction(member) or isinstance(member, property)):
                    assert documented(member), f"{module}.{name}.{attribute}"


def test_the_public_names_are_sorted_and_there():
    assert sorted(rmt.__all__) == list(rmt.__all__)
    assert all(hasattr(rmt, name) for name in rmt.__all__)
