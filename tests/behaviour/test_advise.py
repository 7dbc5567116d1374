"""A model of one's own: every weight named, the spectrum measured, a prediction or the node that prevents it."""

import json
import math
import warnings

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from empirical.acting import stored
from empirical.diagnose import diagnose
from empirical.threads import one_blas_thread
from empirical.zoo import ZOO
from figures.cli import cli

EXAMPLE = "examples/model.py:make_model"


def rmt(*arguments):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


@pytest.fixture(autouse=True)
def random_state():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


OBSTACLES = {"resnet18": "relu needs a Gaussian signal", "vgg_bn": "MaxPool2d is no layer of rmt",
             "vit": "flatten from", "gpt": "add of a constant", "transformer_encoder": "self_attn"}


@pytest.mark.parametrize("name", ZOO)
def test_every_model_of_the_zoo_ends_with_weights_a_spectrum_and_what_prevents_a_prediction(name):
    make, shape = ZOO[name]
    module = make()
    with one_blas_thread(), warnings.catch_warnings():
        warnings.simplefilter("error")
        found = diagnose(module, shape)
    layers = {id(layer.weight) for layer in module.modules() if isinstance(layer, nn.Linear | nn.Conv2d)}
    rows = zip(found.weights, stored(module), strict=True)
    listed = [row for row, one in rows if id(one.weight) in layers]
    assert len(listed) == len(layers)
    assert all(row.scheme is not None and row.odd == "" for row in listed)
    assert found.prediction is None
    assert OBSTACLES[name] in found.obstacle
    assert name == "transformer_encoder" or "zoo.py:" in found.obstacle
    assert -50 < found.summary["log_largest_s"] < 5
    assert found.log_singular_values.shape == (2, math.prod(shape))
    assert found.plot().get_xlabel() == "log₁₀ s"


def test_a_plain_network_is_predicted_measured_and_advised():
    module = nn.Sequential(*[part for _ in range(20) for part in (nn.Linear(60, 60), nn.Tanh())])
    found = diagnose(module, 60)
    assert found.obstacle == ""
    for key in ("log_largest_s", "log_median_s"):
        assert found.summary[key] == pytest.approx(found.predicted[key], abs=1.5)
    growth, spread = found.advice
    assert "shrink" in growth
    assert "is critical at sigma_w = 1.1" in growth
    assert "orthogonal weights" in spread
    for layer in module:
        if isinstance(layer, nn.Linear):
            nn.init.orthogonal_(layer.weight)
            nn.init.zeros_(layer.bias)
    assert diagnose(module[:8], 60).advice == ()


def test_a_jacobian_too_large_to_form_goes_matrix_free(monkeypatch):
    monkeypatch.setattr("empirical.diagnose._LARGEST", 50)
    module = nn.Sequential(nn.Linear(60, 60), nn.ReLU(), nn.Linear(60, 60)).double()
    free, x = diagnose(module, 60), torch.randn(2, 60, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    monkeypatch.undo()
    formed = diagnose(module, 60)
    assert (free.log_singular_values, free.agreement) == (None, None)
    assert free.summary["log_largest_s"] == pytest.approx(formed.summary["log_largest_s"], abs=1e-3)
    assert free.summary["gradient_growth"] == pytest.approx(formed.summary["gradient_growth"], rel=0.1)
    assert free.unresolved == pytest.approx(formed.summary["mass_at_zero"], abs=0.05)  # zeros, or as small
    assert free.summary["mass_at_zero"] == 0
    assert "matrix-free" in free.plot().get_legend_handles_labels()[1][1]
    j = torch.autograd.functional.jacobian(module, x[0])
    assert formed.summary["log_largest_s"] >= float(torch.linalg.svdvals(j)[0].log()) - 1e-9


def test_tokens_are_measured_from_the_embedding_on():
    module = nn.Sequential(nn.Embedding(11, 8), nn.Flatten(), nn.Linear(24, 24))
    found = diagnose(module, 3, tokens=11, between=("1", None))
    assert found.shape == (24, 24)
    assert "tokens" in found.obstacle


def test_the_module_is_left_as_it_was_and_untrained_norms_are_calibrated():
    module = nn.Sequential(nn.Linear(30, 30), nn.BatchNorm1d(30), nn.Tanh()).train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    found = diagnose(module, 30)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(part.training for part in module)
    assert any("batch normalizations without statistics" in warning for warning in found.warnings)
    assert found.summary["gradient_growth"] == pytest.approx(found.predicted["gradient_growth"], rel=0.3)


def test_the_command_on_the_example(tmp_path):
    out = tmp_path / "picture.svg"
    shown = rmt("advise", EXAMPLE, "--input", "3,16,16", "--seed", 1, "--out", out)
    assert shown.exit_code == 0, shown.output
    for part in ("blocks.1.layers.1", "kaiming_uniform(a=sqrt 5), torch's default: variance 1/(3 fan_in)", "Residual(",
                 "Jacobian: 10 outputs, 768 inputs", "measured", "predicted", "distance of the cdfs of 10 values"):
        assert part in shown.stdout
    assert out.read_text().startswith("<?xml")
    asked = json.loads(rmt("advise", EXAMPLE, "--input", "3,16,16", "--seed", 1, "--json").stdout)
    assert (asked["outputs"], asked["inputs"], asked["obstacle"]) == (10, 768, "")
    assert asked["measured"]["gradient_growth"] == pytest.approx(asked["predicted"]["gradient_growth"], rel=0.3)
    assert len(asked["weights"]) == 6


@pytest.mark.parametrize(("arguments", "says"), [
    (["nothing.py:make", "--input", "3"], "MODEL must be FILE.py:NAME of a file that is there, got 'nothing.py:make'"),
    (["https://example.org/model.py:make", "--input", "3"], "of a file that is there"),
    (["examples/model.py", "--input", "3"], "MODEL must be FILE.py:NAME"),
    (["examples/model.py:nothing", "--input", "3"], "has no function 'nothing'"),
    (["examples/model.py:F", "--input", "3"], "has no function 'F'"),
    ([EXAMPLE, "--input", "3,x"], "--input must be whole numbers as 3,32,32, got '3,x'"),
    ([EXAMPLE, "--input", "3,8,8"], "does not fit the module"),
    ([EXAMPLE, "--input", "3,0,8"], "input_shape must be a whole number >= 1"),
    ([EXAMPLE, "--input", "3,16,16", "--between", "stem"], "--between must be two names"),
    ([EXAMPLE, "--input", "3,16,16", "--out", "x.txt"], "--out must end in"),
])
def test_bad_arguments_are_one_line(arguments, says):
    refused = rmt("advise", *arguments)
    assert refused.exit_code == 2, refused.output
    assert refused.stderr.count("\n") == 1
    assert says in refused.stderr


def test_a_function_that_returns_no_module(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("def make():\n    return 3\n")
    assert "make must return a torch.nn.Module, got int" in rmt("advise", f"{file}:make", "--input", "3").stderr
    file.write_text("def make():\n    return {}[3]\n")
    assert f"KeyError: 3 ({file}:2: return {{}}[3])" in rmt("advise", f"{file}:make", "--input", "3").stderr
    file.write_text("import beside\n\ndef make():\n    return beside.module()\n")
    (tmp_path / "beside.py").write_text("import torch\n\ndef module():\n    return torch.nn.Linear(3, 2)\n")
    assert rmt("advise", f"{file}:make", "--input", "3").exit_code == 0


def test_a_dead_network_has_a_diagnosis():
    module = nn.Sequential(nn.Linear(5, 5), nn.ReLU())
    nn.init.zeros_(module[0].weight)
    module[0].bias.data.fill_(-1)
    found = diagnose(module, 5)
    assert found.summary == {"log_largest_s": -math.inf, "log_median_s": -math.inf, "log_smallest_s": -math.inf,
                             "mass_at_zero": 1.0, "unresolved": 0.0, "gradient_growth": 0.0}
    assert "multiplied by zero" in found.obstacle
    assert found.advice == ("0 is all zero: nothing passes it, and what is before has no gradient, as long as that is "
                            "so",)
    assert not any("nan" in line for line in found.advice)
    assert np.isfinite(found.plot().get_ylim()).all()


def test_a_module_where_a_function_that_makes_one_is_asked_for(tmp_path):
    """Its weights are those that the file has drawn; a class of modules is such a function."""
    (tmp_path / "model.py").write_text(
        "import torch\nfrom torch import nn\ntorch.manual_seed(3)\nmodel = nn.Linear(5, 4)\n"
        "class Net(nn.Linear):\n    def __init__(self):\n        super().__init__(5, 4)\n")
    found = {}
    for name in ("model", "Net"):
        result = CliRunner().invoke(cli, ["advise", f"{tmp_path / 'model.py'}:{name}", "--input", "5", "--json"])
        assert result.exit_code == 0
        found[name] = json.loads(result.output)["weights"][0]["std"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        assert found["model"] == pytest.approx(float(nn.Linear(5, 4).weight.detach().double().std(correction=0)))
    assert found["Net"] != found["model"]
