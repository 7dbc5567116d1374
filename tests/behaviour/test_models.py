"""Small models as people write them: `rmt advise` ends soon, with a right table and no false sentence."""

import json
import time
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from empirical import jacobian
from figures.cli import cli
from tests.models import MODELS

FOLDER = Path(__file__).parents[1] / "models"
ZERO = {"broken.py:all_zero_layer", "broken.py:detached"}
# What the first line of advice begins with; "" for any growth, None for nothing to change.
SAYS = {
    "mlp_mish.py:make": "squared gradients shrink", "lenet.py:make": "squared gradients shrink",
    "resnets.py:post_activation": None, "resnets.py:pre_activation": None, "gpt.py:make": None,
    "lstm.py:make": "squared gradients shrink by a factor of", "unet.py:make": "squared gradients shrink",
    "autoencoder.py:make": "squared gradients shrink", "siren.py:make": "squared gradients grow",
    "group_norm_silu.py:make": None, "mobilenet.py:make": None,
    "custom_initialization.py:make": "squared gradients shrink", "broken.py:all_zero_layer": "second is all zero",
    "broken.py:detached": "the signal is detached behind first",
}


def advise(name, *more):
    shape, extra = MODELS[name]
    return CliRunner().invoke(cli, ["advise", str(FOLDER / name), "--input", shape, "--seed", "0", *extra, *more])


@pytest.mark.parametrize("name", SAYS)
def test_advice_on_a_small_model(name):
    began = time.process_time()
    shown = advise(name, "--json")
    assert time.process_time() - began < 30
    assert shown.exit_code == 0, shown.output
    found = json.loads(shown.stdout)
    measured, says = found["measured"], SAYS[name]
    assert found["unresolved_because"] == ""
    assert measured["mass_at_zero"] == 1 if name in ZERO else measured["log_smallest_s"] is not None
    assert (found["advice"] == []) if says is None else found["advice"][0].startswith(says)
    for line in found["advice"]:
        assert "over 1 layers" not in line
        assert not found["obstacle"] or "times as large" not in line
    rows = {row["name"] for row in found["weights"]}
    assert len(rows) == len(found["weights"])


def module_of(name):
    """The module that advise makes, and the inputs that it measures it at."""
    file, _, function = name.partition(":")
    scope = {}
    exec(compile((FOLDER / file).read_text(), file, "exec"), scope)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = scope[function]()
    shape = [int(n) for n in MODELS[name][0].split(",")]
    x = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return module.double().eval(), x.float().double()


@pytest.mark.parametrize("name", [name for name in SAYS if name not in ZERO and not MODELS[name][1]
                                  and "resnets" not in name and "mobilenet" not in name and "silu" not in name])
def test_the_table_is_that_of_plain_torch(name):
    """Of those without batch statistics and tokens: largest value, growth and zeros by an SVD in double precision."""
    module, x = module_of(name)
    s = torch.linalg.svdvals(torch.stack([torch.autograd.functional.jacobian(
        lambda at: module(at[None])[0].flatten(), one).flatten(1) for one in x]))
    found = json.loads(advise(name, "--json").stdout)
    measured = found["measured"]
    assert measured["log_largest_s"] == pytest.approx(float(s.max().log()), abs=1e-6)
    assert measured["gradient_growth"] == pytest.approx(float(s.square().sum(1).mean()) / found["outputs"], rel=1e-6)
    rank = int((s > 1e-12 * s[:, :1]).sum())
    assert measured["mass_at_zero"] == pytest.approx(1 - rank / (2 * found["inputs"]), abs=2.1 / found["inputs"])


def test_jacobians_are_formed_as_torch_forms_them():
    module, x = module_of("unet.py:make")
    plain = torch.autograd.functional.jacobian(lambda at: module(at[None])[0].flatten(), x[0]).flatten(1)
    torch.testing.assert_close(jacobian(module, x[:1])[0], plain, rtol=1e-12, atol=1e-15)


def test_a_weight_that_is_no_number_is_named():
    shown = advise("broken.py:nan_weight")
    assert shown.exit_code == 2
    assert "second has NaN or inf" in shown.stderr
