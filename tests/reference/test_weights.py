"""Weights as they are: the scheme that drew them is named, and trained ones do not look drawn."""

import itertools
import math

import pytest
import torch
from torch import nn

from empirical.describe import describe
from empirical.weights import table, weights
from rmt import schemes


@pytest.fixture(autouse=True)
def random_state():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        yield


def drawn(draw, *widths):
    """Linear layers of these widths, drawn by a function of torch.nn.init, biases zero."""
    module = nn.Sequential(*[nn.Linear(a, b) for a, b in itertools.pairwise(widths)])
    for layer in module:
        draw(layer.weight)
        nn.init.zeros_(layer.bias)
    return module


SCHEMES = [
    (nn.init.kaiming_normal_, schemes.kaiming_normal()), (nn.init.kaiming_uniform_, schemes.kaiming_uniform()),
    (nn.init.xavier_normal_, schemes.xavier_normal()), (nn.init.xavier_uniform_, schemes.xavier_uniform()),
    (lambda w: nn.init.kaiming_normal_(w, mode="fan_out"), schemes.kaiming_normal(mode="fan_out")),
    (lambda w: nn.init.xavier_normal_(w, 5 / 3), schemes.xavier_normal(5 / 3)),
    (lambda w: nn.init.kaiming_normal_(w, nonlinearity="linear"), schemes.lecun_normal()),
    (lambda w: nn.init.normal_(w, 0, 0.02), schemes.normal(0.02)),
    (lambda w: nn.init.trunc_normal_(w, std=0.01), schemes.normal(0.01)),  # cut at 200 deviations: not at all
    (lambda w: nn.init.trunc_normal_(w, std=0.02, a=-0.04, b=0.04), schemes.trunc_normal(std=0.02, a=-0.04, b=0.04)),
    (lambda w: nn.init.kaiming_uniform_(w, math.sqrt(5)), schemes.kaiming_uniform(math.sqrt(5))),
]


@pytest.mark.parametrize(("draw", "scheme"), SCHEMES, ids=[str(scheme) for _, scheme in SCHEMES])
def test_a_named_scheme_is_seen_in_every_layer(draw, scheme):
    rows = weights(drawn(draw, 64, 100, 100, 10))
    assert [row.scheme for row in rows] == [scheme] * 3  # the square one could be of other names
    assert all(abs(row.deviation) < 0.2 and row.odd == "" and row.bias_std == 0 for row in rows)


def test_normal_and_truncated_entries_are_told_apart_and_read_back():
    """A normal matrix of 64 x 100 stays inside two deviations with a probability of 1e-64."""
    normal, cut = (weights(drawn(draw, 64, 100, 100))
                   for draw in (lambda w: nn.init.normal_(w, 0, 0.02),
                                lambda w: nn.init.trunc_normal_(w, std=2 / 64**0.5, a=-4 / 64**0.5, b=4 / 64**0.5)))
    assert [row.entries for row in (*normal, *cut)] == ["normal"] * 2 + ["truncated"] * 2
    assert normal[0].text.startswith("normal(std=0.02): variance 0.0004, within ")
    network = describe(drawn(lambda w: nn.init.normal_(w, 0, 0.02), 64, 100, 100), 64)
    assert str(network) == "64-100x2, normal(std=0.02)"


def test_torchs_default_with_and_without_its_bias():
    with_bias, without = weights(nn.Sequential(nn.Linear(50, 80), nn.Linear(80, 80, bias=False)))
    assert with_bias.scheme == schemes.torch_default()
    assert without.scheme == schemes.kaiming_uniform(math.sqrt(5))
    assert with_bias.text.startswith("torch_default, kaiming_uniform(a=sqrt 5): variance 1/(3 fan_in), within ")
    assert without.text.startswith("kaiming_uniform(a=sqrt 5), torch's default: variance 1/(3 fan_in), within ")
    assert with_bias.sigma_w == pytest.approx(1 / math.sqrt(3), rel=0.05)


def test_what_no_scheme_has_is_given_by_sigma_w():
    (row,) = weights(drawn(lambda w: nn.init.normal_(w, 0, 1.9 / 10), 100, 100))
    assert (row.scheme, row.entries) == (None, "normal")
    assert abs(row.sigma_w - 1.9) < 4 * row.std_error * 10
    assert row.std_error == pytest.approx(0.19 / math.sqrt(2 * 100 * 100), rel=0.05)
    assert row.text.startswith("normal of sigma_w = 1.")


def test_layers_that_together_are_beside_a_scheme_do_not_have_its_name():
    """Each of sixteen is within two standard errors of 25/9, all of them are not."""
    rows = weights(drawn(lambda w: nn.init.normal_(w, 0, 1.685 / 10), *[100] * 17))
    assert all(row.scheme is None for row in rows)
    assert max(abs(row.sigma_w / (5 / 3) - 1) / row.std_error * row.std for row in rows) < 4


def test_orthogonal_sparse_delta_and_zero():
    linear, convolution = nn.Linear(40, 30), nn.Conv2d(8, 12, 3)
    nn.init.orthogonal_(linear.weight, math.sqrt(2))
    nn.init.zeros_(convolution.weight)
    nn.init.orthogonal_(convolution.weight.data[:, :, 1, 1])
    with torch.no_grad():
        convolution.weight[:, :, 1, 1] = nn.init.orthogonal_(torch.empty(12, 8))
    found = weights(nn.ModuleList([linear, convolution, drawn(lambda w: nn.init.sparse_(w, 0.9), 50, 50),
                                   drawn(nn.init.zeros_, 4, 4)]))
    assert [row.entries for row in found] == ["orthogonal", "delta", "sparse", "zero"]
    assert found[0].scheme == schemes.orthogonal(1.41421)
    assert found[1].scheme == schemes.delta_orthogonal()
    assert found[2].scheme.numbers[0] == 0.9


def test_fans_of_groups_transposes_projections_and_embeddings():
    rows = {row.name: row for row in weights(nn.ModuleDict({
        "groups": nn.Conv2d(16, 32, 3, groups=4), "up": nn.ConvTranspose2d(8, 16, 4, stride=2),
        "attention": nn.MultiheadAttention(64, 4), "embedding": nn.Embedding(100, 64),
        "orthogonal": nn.utils.parametrizations.orthogonal(nn.Linear(20, 30)), "norm": nn.LayerNorm(64)}))}
    assert [*rows] == ["groups", "up", "attention.in_proj_weight", "attention.out_proj", "embedding", "orthogonal"]
    assert (rows["groups"].fan_in, rows["groups"].torch_fans) == (36, (36, 288))
    assert (rows["up"].fan_in, rows["up"].torch_fans) == (8 * 16 // 4, (256, 128))  # torch counts the other side
    assert rows["up"].scheme == schemes.torch_default()
    packed = rows["attention.in_proj_weight"]
    assert (packed.kind, packed.fan_in, packed.scheme) == ("projections", 64, schemes.xavier_uniform())
    assert packed.sigma_w == pytest.approx(2**-0.5, rel=0.02)  # 2 / (64 + 192) times 64: not the 1 of three matrices
    assert (rows["attention.out_proj"].kind, rows["embedding"].fan_in) == ("Linear", 1)
    assert rows["orthogonal"].entries == "orthogonal"


def test_shared_weights_are_one_row():
    layer = nn.Linear(5, 5)
    assert len(weights(nn.Sequential(layer, nn.Tanh(), layer))) == 1


def test_training_is_seen_and_drawing_is_not():
    """None of 500 drawn matrices looks trained; those that a rank-one step or scaled rows went into do."""
    for _ in range(100):
        for shape in ((3, 12), (10, 10), (30, 8), (64, 64), (10, 100)):
            (row,) = weights(drawn(nn.init.kaiming_uniform_, *shape[::-1]))
            assert row.odd == ""
    layer = drawn(nn.init.kaiming_normal_, 50, 50)
    with torch.no_grad():
        layer[0].weight += 0.1 * torch.outer(torch.randn(50), torch.randn(50))
    assert "largest singular value" in weights(layer)[0].odd
    layer = drawn(nn.init.kaiming_normal_, 50, 50)
    with torch.no_grad():
        layer[0].weight *= torch.linspace(0.75, 1.25, 50)[:, None]
    assert "rows of unequal length" in weights(layer)[0].odd
    layer = drawn(lambda w: nn.init.normal_(w, 0.05, 0.1), 50, 50)
    assert "a mean of 0.0" in weights(layer)[0].odd


def test_bad_weights_are_named():
    module = drawn(nn.init.kaiming_normal_, 4, 4, 4)
    module[1].weight.data[0, 0] = math.nan
    with pytest.raises(ValueError, match="1 has NaN or inf"):
        weights(module)


def test_the_table_has_a_line_a_layer():
    text = table(weights(drawn(nn.init.xavier_uniform_, 30, 20, 10)))
    assert len(text.splitlines()) == 3
    assert "20x30" in text
    assert "xavier_uniform: variance 2/(fan_in + fan_out)" in text
