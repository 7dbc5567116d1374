"""Schemes against torch.nn.init on real tensors."""

import functools
import math

import mpmath
import pytest

import empirical
from rmt import Dense, Network, compare, mlp, predict, schemes

torch = pytest.importorskip("torch")
ROWS, COLUMNS = 900, 400
NORMAL = [
    ("kaiming_normal", {}), ("kaiming_normal", {"mode": "fan_out"}), ("kaiming_normal", {"a": math.sqrt(5)}),
    ("kaiming_normal", {"a": 0.1, "mode": "fan_out", "nonlinearity": "leaky_relu"}),
    *(("kaiming_normal", {"a": 3, "nonlinearity": name})
      for name in ("linear", "relu", "tanh", "selu", "sigmoid", "conv2d")),
    ("xavier_normal", {}), ("xavier_normal", {"gain": 5 / 3}),
    ("xavier_uniform", {}), ("xavier_uniform", {"gain": 0.3}), ("kaiming_uniform", {"a": math.sqrt(5)}),
    ("kaiming_uniform", {"mode": "fan_out", "nonlinearity": "tanh"}), ("trunc_normal", {}),
    ("trunc_normal", {"std": 0.02}), ("trunc_normal", {"std": 0.02, "a": -0.04, "b": 0.04}),
    ("trunc_normal", {"std": 3, "a": -0.5, "b": 0.5}), ("sparse", {"sparsity": 0.1}),
    ("sparse", {"sparsity": 0.85, "std": 2}), ("sparse", {"sparsity": 0.0011, "std": 1}),
]


def weight():
    return torch.empty(ROWS, COLUMNS, dtype=torch.float64)


def drawn(name, options, generator):
    return getattr(torch.nn.init, f"{name}_")(weight(), generator=generator, **options)


@pytest.mark.parametrize(("name", "options"), NORMAL)
def test_the_variance_is_torchs(name, options):
    """The relative error of a variance over n normal entries (no zeros) is sqrt(2/n): 5 of it, false alarm 6e-7."""
    entries = drawn(name, options, torch.Generator().manual_seed(1))
    scheme = getattr(schemes, name)(**options)
    error = 5 * math.sqrt(2 / entries.count_nonzero().item())
    assert entries.square().mean().item() == pytest.approx(float(scheme.variance(COLUMNS, ROWS)), rel=error)
    assert not scheme.orthogonal


@pytest.mark.parametrize(("rows", "columns"), [(90, 40), (40, 90), (40, 40)])
def test_orthogonal_matrices_are_torchs(rows, columns):
    entries = torch.nn.init.orthogonal_(torch.empty(rows, columns, dtype=torch.float64), gain=1.5)
    scheme = schemes.orthogonal(gain=1.5)
    singular = torch.linalg.svdvals(entries)
    assert singular.square().tolist() == pytest.approx([float(scheme.gain_squared)] * min(rows, columns), rel=1e-12)
    assert entries.square().mean().item() == pytest.approx(float(scheme.variance(columns, rows)), rel=1e-12)


@pytest.mark.parametrize("name", ["linear", "relu", "tanh", "selu", "sigmoid", "conv1d", "conv2d", "conv3d"])
def test_the_gains_are_torchs(name):
    scheme = schemes.kaiming_normal(nonlinearity=name)
    assert float(scheme.gain_squared) == pytest.approx(torch.nn.init.calculate_gain(name) ** 2, rel=1e-15)


@pytest.mark.parametrize("a", [0, 0.01, 1, -2, math.sqrt(5)])
def test_the_gain_of_a_leaky_relu_is_torchs(a):
    """The slope may have any sign; sqrt 5 is what torch.nn.Linear uses."""
    expected = torch.nn.init.calculate_gain("leaky_relu", a) ** 2
    assert float(schemes.kaiming_normal(a=a).gain_squared) == pytest.approx(expected, rel=1e-15)


def test_aliases_and_text_mean_the_same_scheme():
    pairs = [("he_normal", schemes.kaiming_normal()), ("glorot_normal(gain=2)", schemes.xavier_normal(2)),
             ("kaiming_normal(0, 'fan_out')", schemes.kaiming_normal(mode="fan_out")),
             ("gaussian(sigma_w=0.5)", schemes.gaussian(0.5)), ("orthogonal(2)", schemes.orthogonal(gain=2))]
    for text, scheme in pairs:
        assert schemes.scheme(text) == scheme
        assert schemes.scheme(scheme) is scheme


@pytest.mark.parametrize(("named", "scheme"), [
    ("kaiming_normal_", schemes.kaiming_normal()), ("orthogonal_(2)", schemes.orthogonal(2)),
    ("nn.init.xavier_uniform_(gain=2)", schemes.xavier_uniform(2)), ("normal_(0, 0.02)", schemes.normal(std=0.02)),
    ("torch.nn.init.trunc_normal_(std=.02)", schemes.trunc_normal(std=0.02)), ("normal(.02)", schemes.normal(0.02)),
    ("sparse_(0.9)", schemes.sparse(0.9)), (torch.nn.init.kaiming_uniform_, schemes.kaiming_uniform()),
    (functools.partial(torch.nn.init.normal_, std=0.5), schemes.normal(0.5)),
    ("uniform_(-0.5, 0.5)", schemes.scheme("init.uniform_(b=0.5, a=-0.5)")),
], ids=lambda case: case if isinstance(case, str) else "")
def test_torchs_own_names_are_understood_with_its_arguments(named, scheme):
    assert Dense(5, named).scheme == scheme
    assert schemes.scheme(scheme.call) == scheme
    assert eval(repr(scheme)) == scheme
    assert schemes.kaiming_normal_ is schemes.kaiming_normal


def test_normal_entries_do_not_know_the_shape():
    assert predict(mlp([400, 300], "linear", "normal(0.02)")).layers[0].variance == pytest.approx(400 * 0.02**2)
    found = compare(predict(mlp([100] * 3, "linear", "normal_(std=.1)")),
                    empirical.measure(mlp([100] * 3, "linear", "normal_(std=.1)"), draws=16, seed=2, progress=False))
    assert found.verdict == "agrees"


@pytest.mark.parametrize("text", [
    "uniform(1.3)", "lecun_normal", "torch_default", "glorot_uniform", "he_uniform", "sparse(0.3, std=0.1)",
    "trunc_normal(std=0.5, a=-0.4, b=0.4)", "gaussian", "orthogonal(1.5)", "normal(0.02)", "uniform_(-0.1, 0.1)",
])
def test_a_built_layer_has_the_weights_and_the_bias_of_its_scheme(text):
    """Mean square, and fourth moment over its square (3 for normal entries, 1.8 for uniform ones): 5 errors each."""
    scheme = schemes.scheme(text)
    linear = empirical.build(Network(COLUMNS, [Dense(ROWS, text)]), seed=3)[0]
    entries = linear.weight.detach()
    variance = float(scheme.variance(COLUMNS, ROWS))
    error = 5 * math.sqrt(2 * (3 if scheme.entries == "sparse" else 1) / entries.numel())
    assert entries.square().mean().item() == pytest.approx(variance, rel=error)
    if scheme.entries in ("normal", "uniform"):
        kurtosis = entries.pow(4).mean().item() / entries.square().mean().item() ** 2
        assert kurtosis == pytest.approx({"normal": 3, "uniform": 1.8}[scheme.entries], rel=5 * math.sqrt(24 / 3.6e5))
    assert (linear.bias is not None) == (text == "torch_default")


def test_torchs_default_is_that_of_a_linear_layer():
    """Bounds 1/sqrt(fan_in) of weights and biases, and what they do to a signal: q = (1 + 1)/3."""
    torch.manual_seed(0)
    ours = empirical.build(Network(COLUMNS, [Dense(ROWS, "torch_default")]), 0)[0]
    theirs = torch.nn.Linear(COLUMNS, ROWS)
    for linear in (theirs, ours):
        for entries in (linear.weight, linear.bias):
            assert entries.abs().max().item() == pytest.approx(1 / 20, rel=0.02)
            assert entries.abs().max().item() <= 1 / 20
    row = predict(Network(COLUMNS, [Dense(ROWS, "torch_default")])).layers[0]
    assert row.variance == pytest.approx(1 / 3 + 1 / (3 * COLUMNS), rel=1e-12)
    out = ours(torch.randn(2000, COLUMNS, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))
    assert out.square().mean().item() == pytest.approx(row.variance, rel=0.02)
    with pytest.raises(ValueError, match="bias_std must be 0 with init='torch_default'"):
        Dense(5, "torch_default", bias_std=0.1)


@pytest.mark.parametrize("bound", [1e-3, 0.09999, 0.10001, 1, 3, 12])
def test_the_variance_of_truncated_entries(bound):
    with mpmath.workdps(30):
        share = mpmath.quad(lambda x: x**2 * mpmath.npdf(x), [-bound, 0, bound]) / mpmath.quad(
            mpmath.npdf, [-bound, 0, bound])
    found = schemes.trunc_normal(std=2, a=-2 * bound, b=2 * bound).variance(3, 4)
    assert float(found) == pytest.approx(4 * float(share), rel=1e-6 if bound < 0.1 else 1e-12)


def test_the_same_sparse_weights_whatever_the_global_random_state():
    network = Network(30, [Dense(20, "sparse(0.5)")])
    torch.manual_seed(1)
    first = empirical.build(network, 7)[0].weight
    torch.manual_seed(2)
    assert torch.equal(first, empirical.build(network, 7)[0].weight)
    assert (first == 0).sum(dim=0).tolist() == [10] * 30


@pytest.mark.parametrize("init", ["uniform", "kaiming_uniform", "trunc_normal(std=0.1)", "sparse(0.5, 0.2)"])
def test_networks_of_other_entries_have_the_law_of_normal_ones(init):
    """Universality: 16 networks of 150, sup distance under .012 (a right law of normal entries leaves .01)."""
    network = mlp([150] * 3, "linear", init)
    found = compare(predict(network), empirical.measure(network, draws=16, seed=2, progress=False))
    assert found.discrepancy < 0.012
    assert found.null is None
    shift = 2 * math.log(1.1)
    assert compare(found.spectrum, found.log_values + shift).discrepancy > 0.03


def test_few_entries_a_column_are_pointed_out():
    assert "non-zero entries a column" in predict(mlp([40, 40], "linear", "sparse(0.9)")).warnings[0]
    assert " 4 non-zero" in predict(mlp([40, 40], "linear", "sparse(0.9)")).warnings[0]


@pytest.mark.parametrize(("call", "word"), [
    (lambda: schemes.trunc_normal(mean=0.1), "mean must be 0"), (lambda: schemes.trunc_normal(a=-1), "a must be -b"),
    (lambda: schemes.trunc_normal(std=0), "std"), (lambda: schemes.trunc_normal(b=0), "b must be"),
    (lambda: schemes.sparse(1), "sparsity"), (lambda: schemes.sparse(-0.1), "sparsity"),
    (lambda: schemes.sparse(0.5, 0), "std"), (lambda: schemes.uniform(0), "sigma_w"),
    (lambda: schemes.xavier_uniform(-1), "gain"), (lambda: schemes.kaiming_uniform(mode="in"), "mode"),
    (lambda: schemes.scheme("kaiming_unifrm"), "did you mean 'kaiming_uniform'"),
    (lambda: schemes.normal(0), "std must be in"), (lambda: schemes.normal(0, 0.02), "takes std first"),
    (lambda: schemes.normal(1, 0.5), "mean must be 0"), (lambda: schemes.scheme("uniform_"), "a must be -b"),
    (lambda: schemes.scheme("normal_(0.02)"), "mean must be 0"),
    (lambda: schemes.scheme("eye_"), r"unknown init 'eye_' \("),
])
def test_what_is_no_scheme_is_refused(call, word):
    with pytest.raises(ValueError, match=word):
        call()
