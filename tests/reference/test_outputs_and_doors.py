"""Outputs that are no single tensor, what autograd does not see, and what is refused: measured, or one line."""

import warnings
from collections import namedtuple
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import nn

from empirical import (
    SpectrumMonitor,
    batch_jacobian,
    describe,
    jacobian,
    log_singular_values,
    measure,
    spectral_density,
    weights,
)
from empirical.diagnose import diagnose
from empirical.inputs import array
from rmt.networks.layers import UnsupportedStructure
from tests.modules import (
    MEASURED,
    N,
    Own,
    autograd,
    chain,
    inputs,
    linear,
    made,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated:FutureWarning")


# ---- outputs that are no single tensor ----------------------------------------------------------------

Fields = namedtuple("Fields", "logits aux")


@dataclass
class Data:
    """Two outputs."""

    logits: torch.Tensor
    aux: torch.Tensor


OUTPUTS = {
    "namedtuple": (lambda y, z: Fields(y, z), "logits"), "namedtuple by place": (lambda y, z: Fields(y, z), 0),
    "tuple": (lambda y, z: (z, y), 1), "list": (lambda y, z: [y, z], 0),
    "dataclass": (lambda y, z: Data(y, z), "logits"),
    "dict": (lambda y, z: {"logits": y, "aux": z}, "logits"),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_the_output_that_is_meant_is_picked(name):
    wrap, output = OUTPUTS[name]
    module = made(lambda: Own(lambda own, x: wrap(own.b(torch.tanh(own.a(x))), x.sum())))
    plain = made(lambda: Own(lambda own, x: own.b(torch.tanh(own.a(x)))))
    x = inputs()
    truth = autograd(plain, x)
    assert_allclose(jacobian(module, x, output=output).numpy(), truth.numpy(), atol=1e-13)
    assert_allclose(np.exp(log_singular_values(module, x, output=output)),
                    np.linalg.svd(truth.numpy(), compute_uv=False), rtol=1e-10)
    assert describe(module, N, output) == describe(plain, N)
    assert diagnose(module, N, output=output).agreement is not None
    for function in (jacobian, log_singular_values, spectral_density, batch_jacobian):
        with pytest.raises(ValueError, match="say with output= which tensor of it is meant"):
            function(module, x)
    with pytest.raises(UnsupportedStructure, match="output="):
        describe(module, N)


@pytest.mark.parametrize(("forward", "says"), [
    (lambda own, x: own.a(x).argmax(1), r"torch.int64: whole numbers \(of argmax, say\) have no slope"),
    (lambda own, x: torch.fft.fft(own.a(x)), "torch.complex128: torch.view_as_real of it is"),
    (lambda own, x: own.a(x) > 0, "torch.bool"),
    (lambda own, x: None, "returns a NoneType"),
    (lambda own, x: torch.from_numpy(np.tanh(own.a(x).numpy())), "values that leave torch for numpy"),
], ids=["argmax", "complex", "bool", "None", "numpy"])
def test_what_has_no_derivative_is_one_line_that_says_what_to_do(forward, says, capfd):
    module, x = made(lambda: Own(forward)), inputs()
    for function in (jacobian, log_singular_values, spectral_density, batch_jacobian):
        with pytest.raises(ValueError, match=says) as caught:
            function(module, x)
        assert "\n" not in str(caught.value)
    with pytest.raises(UnsupportedStructure):
        describe(module, N)
    assert capfd.readouterr() == ("", "")


# ---- what autograd does not see -----------------------------------------------------------------------


def without_gradient(own, x):
    with torch.no_grad():
        hidden = own.a(x)
    return own.b(hidden)


CUTS = {
    "round": (lambda own, x: own.b(torch.round(own.a(x))), "round"),
    "sign": (lambda own, x: own.b(torch.sign(own.a(x))), "sign"),
    "floor": (lambda own, x: own.b(own.a(x).floor()), "floor"),
    "detach": (lambda own, x: own.b(own.a(x).detach()), "detach"),
    "detach at the end": (lambda own, x: own.b(own.a(x)).detach(), "detach"),
    "data": (lambda own, x: own.b(own.a(x).data), "__get__"),
    "no_grad": (without_gradient, "linear under torch.no_grad"),
    "inference_mode inside": (lambda own, x: own.b(torch.inference_mode()(lambda: own.a(x))()),
                              "linear under torch.no_grad"),
    "inference_mode": (lambda own, x: torch.inference_mode()(lambda: own.b(own.a(x)))(), "linear under torch.no_grad"),
    "numpy": (lambda own, x: own.b(torch.from_numpy(np.tanh(own.a(x).detach().numpy()))), "detach"),
    "tolist": (lambda own, x: own.b(torch.tensor(own.a(x).tolist()).to(x)), "tolist"),
    "argmax": (lambda own, x: own.a(x).argmax(1, keepdim=True).to(x) * torch.ones(N), "argmax"),
    "constant": (lambda own, x: torch.ones_like(x), "ones_like"),
    "unread": (lambda own, x: own.b(torch.ones(1, N).double()), "it does not read it"),
}


@pytest.mark.parametrize("name", CUTS)
def test_an_output_that_autograd_cannot_follow_has_a_jacobian_of_zero_and_a_warning_that_names_the_line(name, capfd):
    """torch.fx sees no no_grad: a chain of its stages had values of its own."""
    forward, says = CUTS[name]
    module, x = made(lambda: Own(forward)), inputs()
    place = "" if says == "it does not read it" else r".* \(.*test_outputs_and_doors.py:\d+: "
    with pytest.warns(UserWarning, match=f"as autograd sees it: {says}{place}"):
        assert not jacobian(module, x).any()
    with pytest.warns(UserWarning, match="does not depend on the input") as caught:
        assert np.all(np.isneginf(log_singular_values(module, x)))
    assert len(caught) == 1
    with pytest.warns(UserWarning, match="does not depend on the input"):
        assert spectral_density(module, x).extremes.largest.log_value == -np.inf
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert any("does not depend on the input" in note for note in diagnose(module, N).warnings)
    assert capfd.readouterr() == ("", "")


@pytest.mark.filterwarnings("ignore:torch.ao.quantization is deprecated:DeprecationWarning",
                            "ignore:torch.quantize_per_tensor|.*an autograd kernel was not registered:UserWarning")
def test_whole_numbers_in_packed_layers_are_a_call_without_a_derivative():
    with torch.random.fork_rng(devices=[]):
        packed = torch.ao.quantization.quantize_dynamic(chain(), {nn.Linear}, dtype=torch.qint8)
    with pytest.warns(UserWarning, match="as autograd sees it: a call that has no derivative"):
        assert not jacobian(packed, inputs().float()).any()
    assert weights(packed) == ()
    with pytest.raises(UnsupportedStructure, match="linear_dynamic"):
        describe(packed, N)


# ---- modules with more than strided tensors of real numbers, or less than a forward in Python ---------------


class Sparse(nn.Module):
    """A layer, and a fixed sparse matrix."""

    def __init__(self, matrix):
        super().__init__()
        self.a = linear()
        self.register_buffer("matrix", matrix)

    def forward(self, x):
        return torch.sparse.mm(self.matrix, self.a(x).T).T


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta:UserWarning")
@pytest.mark.parametrize("layout", ["to_sparse", "to_sparse_csr"])
def test_sparse_buffers(layout):
    module, x = made(lambda: Sparse(getattr(torch.randn(N, N, dtype=torch.float64).relu(), layout)())), inputs()
    truth = autograd(module, x)
    assert_allclose(jacobian(module, x).numpy(), truth.numpy(), atol=1e-13)
    largest = np.linalg.svd(truth.numpy(), compute_uv=False)[:, 0]
    assert_allclose(log_singular_values(module, x)[:, 0], np.log(largest), rtol=1e-9)
    assert [row.name for row in weights(module, x)] == ["a"]


def exported(**options):
    module = made(chain).float()
    return torch.export.export(module, (inputs().float(),), **options).module(), module


@pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec.:FutureWarning")
def test_exported_and_frozen_modules_are_measured_in_any_mode():
    x = inputs().float()
    free, module = exported(dynamic_shapes=({0: torch.export.Dim("batch")},))
    frozen = torch.jit.freeze(torch.jit.script(module))
    truth = autograd(made(chain), x.double()).numpy()
    for one in (free, frozen):
        assert_allclose(jacobian(one, x).numpy(), truth, atol=1e-5)
        assert_allclose(np.exp(log_singular_values(one, x)), np.linalg.svd(truth, compute_uv=False), atol=1e-5)
    assert len(weights(free)) == 2
    assert str(describe(free, N)) == str(describe(module, N))
    assert weights(frozen) == ()
    with pytest.raises(UnsupportedStructure, match="TorchScript has no forward in Python"):
        describe(frozen, N)
    fixed, _ = exported()
    for function in (jacobian, log_singular_values):
        with pytest.raises(ValueError, match=r"exported for inputs of one size \(.*\); .* of one: .*dynamic_shapes"):
            function(fixed, x)


def test_a_forward_in_which_torch_func_maps():
    """Of single precision: it asked the entries of a tensor that stands for several."""
    mapped = made(lambda: Own(lambda own, x: torch.vmap(lambda h: own.a(h).tanh() * h.sum())(x))).float()
    truth = np.linalg.svd(autograd(mapped.double(), inputs()).numpy(), compute_uv=False)
    assert_allclose(log_singular_values(mapped.double(), inputs()), np.log(truth), rtol=1e-9)
    assert_allclose(log_singular_values(mapped.float(), inputs().float()), np.log(truth), rtol=1e-5)
    with pytest.raises(UnsupportedStructure, match="the module cannot be read"):
        describe(mapped, N)


@pytest.mark.parametrize(("make", "x", "says"), [
    (lambda: chain().bfloat16(), inputs().float(), r"^0.weight is of half precision \(torch.bfloat16\): use module"),
    (lambda: chain().half(), inputs().float(), r"^0.weight is of half precision \(torch.float16\): use module"),
    (lambda: made(chain), [[1.0] * N], r"^x must be a tensor \(batch, \*input_shape\) .*, got <class 'list'>"),
    (lambda: made(lambda: Own(lambda own, x: x[:, :0])), inputs(), r"^the output has no entries: its shape is"),
])
@pytest.mark.parametrize("function", [jacobian, log_singular_values, spectral_density])
def test_every_measurement_refuses_in_the_same_words(function, make, x, says):
    with pytest.raises(ValueError, match=says):
        function(make(), x)


def test_units_that_are_dead_are_no_cut():
    dead = made(lambda: Own(lambda own, x: own.b(torch.relu(own.a(x) - 1e3))))
    assert not jacobian(dead, inputs()).any()
    assert np.all(np.isneginf(log_singular_values(dead, inputs())))


# ---- batch normalization --------------------------------------------------------------------------------


def normalized(**options):
    return nn.Sequential(linear(), nn.BatchNorm1d(N, **options), nn.Tanh())


def test_batch_normalization_that_keeps_no_statistics():
    module, x = made(lambda: normalized(track_running_stats=False)), inputs(5)
    for function in (jacobian, log_singular_values, spectral_density):
        with pytest.raises(ValueError, match=r"1: BatchNorm .*track_running_stats=False.*batch_jacobian") as caught:
            function(module, x)
        assert "eval()" not in str(caught.value)
    with pytest.raises(ValueError, match=r"1: BatchNorm in training mode mixes .* eval\(\)"):
        jacobian(made(normalized).train(), x)
    truth = torch.autograd.functional.jacobian(lambda z: module(z.reshape(5, N)).flatten(), x.flatten())
    assert_allclose(batch_jacobian(module, x).numpy(), truth.numpy(), atol=1e-13)
    assert describe(module, N) == describe(made(normalized), N)
    found = diagnose(module, N)
    assert any("were given those of 256 random inputs" in note for note in found.warnings)
    assert found.log_singular_values == pytest.approx(diagnose(made(normalized), N).log_singular_values, abs=1e-12)
    assert module[1].running_mean is None
    measured = [measure(lambda options=options: normalized(**options), draws=1, inputs=array(inputs(9).numpy()),
                        progress=False) for options in ({}, {"track_running_stats": False})]
    assert measured[0].calibrated == measured[1].calibrated == 9
    np.testing.assert_array_equal(*(one.log_singular_values for one in measured))


@pytest.mark.parametrize("options", [{}, {"track_running_stats": False}])
def test_a_batch_of_one_has_no_statistics(options):
    module = made(lambda: normalized(**options)).train()
    with pytest.raises(ValueError, match=r"1: BatchNorm in training mode.* no statistics of a batch of 1"):
        batch_jacobian(module, inputs(1))
    with pytest.raises(ValueError, match="two or more, got 1"):
        SpectrumMonitor(module, inputs(1), law=None).measure()


# ---- the door ---------------------------------------------------------------------------------------------


def test_inputs_without_samples_or_entries_are_refused_by_name_and_shape():
    module = made(chain)
    for shape in ((0, N), (2, 0), (0,), (0, 3, N)):
        for function in (jacobian, log_singular_values, spectral_density, batch_jacobian, weights):
            with pytest.raises(ValueError, match=rf"^x must .*got shape \({shape[0]},"):
                function(module, x=torch.empty(shape, dtype=torch.float64))
        with pytest.raises(ValueError, match=rf"inputs must .*got shape \({shape[0]},"):
            SpectrumMonitor(module, torch.empty(shape, dtype=torch.float64))
        with pytest.raises(ValueError, match=rf"^x must .*got shape \({shape[0]},"):
            array(np.empty(shape))
    with pytest.raises(ValueError, match=r"x\['input'\] must .*got shape \(0, 6\)"):
        jacobian(module, {"input": inputs(0)})


@pytest.mark.parametrize(("kind", "says"), [
    ("parameter", "0.weight is complex"), ("buffer", "0.phase is complex"), ("half", "0.weight is of half precision"),
    ("meta", "0.weight is on the meta device"), ("lazy", "0.weight has no shape")])
def test_a_factory_of_modules_that_would_be_cast_is_refused_by_name(kind, says):
    def make():
        module = chain()
        match kind:
            case "parameter":
                module[0].weight = nn.Parameter(torch.ones(N, N, dtype=torch.complex64))
            case "buffer":
                module[0].register_buffer("phase", torch.ones(N, dtype=torch.complex64))
            case "half":
                module[0].half()
            case "meta":
                module[0].to("meta")
            case "lazy":
                module[0] = nn.LazyLinear(N)
        return module

    for dtype in ("float64", "float32"):
        with pytest.raises(ValueError, match=says):
            measure(make, draws=1, inputs=array(inputs(3).numpy()), dtype=dtype, progress=False)


@pytest.mark.parametrize("module", [chain, lambda: torch.jit.script(chain())])
def test_a_module_is_no_factory(module):
    with pytest.raises(TypeError, match=r"got the module .* itself: empirical.log_singular_values\(module, x\)"):
        measure(module(), draws=2, inputs=array(inputs(3).numpy()), progress=False)


def test_a_factory_that_returns_no_module_or_several_outputs():
    with pytest.raises(TypeError, match=r"must be a torch.nn.Module, got None"):
        measure(lambda: None, draws=1, inputs=array(inputs(3).numpy()), progress=False)
    with pytest.raises(ValueError, match="wrap it in a module that returns that one"):
        measure(lambda: Own(lambda own, x: {"y": own.a(x)}), draws=1, inputs=array(inputs(3).numpy()), progress=False)


FACTORIES = ["checkpoint, reentrant", "checkpoint, not reentrant", "DataParallel", "scripted", "one number",
             "hook-based norms"]


@pytest.mark.parametrize("name", FACTORIES)
def test_factories_of_unusual_modules_are_measured_and_stored(name, tmp_path):
    found = [measure(MEASURED[name], draws=2, inputs=array(inputs(3).numpy()), store=tmp_path, label=name,
                     progress=False) for _ in range(2)]
    np.testing.assert_array_equal(*(one.log_singular_values for one in found))
    assert found[0].n_outputs == (1 if name == "one number" else N)
    assert len([*tmp_path.rglob("*.npz")]) == 2


class TwoInputs(nn.Module):
    """Another input than x."""

    def forward(self, x, y):
        return x + y


@pytest.mark.parametrize(("make", "says"), [
    (lambda: nn.ModuleList([linear()]), "missing the required .forward. function"),
    (TwoInputs, "its forward needs y, too"), (lambda: torch.jit.script(chain()), "TorchScript has no forward"),
    (lambda: Own(lambda own, x: None), "does not depend on the input"),
], ids=["no forward", "two inputs", "scripted", "None"])
def test_modules_that_cannot_be_described_are_refused_in_words(make, says):
    with pytest.raises(UnsupportedStructure, match=says):
        describe(made(make), N)


# ---- LAPACK and memory --------------------------------------------------------------------------------------

RANKS = {
    "all dead, then a layer": (lambda: Own(lambda own, x: own.b(torch.sign(own.a(x)))), 0),
    "rank one in the middle": (lambda: Own(lambda own, x: own.b(own.a(x).mean(1, keepdim=True) * torch.ones(N))), 1),
    "zero weights": (lambda: zeroed(0), 0), "zero weights at the end": (lambda: zeroed(4), 0),
    "one row": (lambda: nn.Sequential(linear(), nn.Tanh(), nn.Linear(N, 1)), 1),
    "one in the middle": (lambda: nn.Sequential(nn.Linear(N, 1), nn.Tanh(), nn.Linear(1, N)), 1),
}


def zeroed(place):
    module = nn.Sequential(linear(), nn.Tanh(), linear(), nn.Tanh(), linear())
    nn.init.zeros_(module[place].weight)
    return module


@pytest.mark.filterwarnings("ignore:the output does not depend on the input")
@pytest.mark.parametrize("name", RANKS)
def test_any_rank_is_counted_without_a_word_of_lapack(name, capfd):
    make, rank = RANKS[name]
    logs = log_singular_values(made(make), inputs())
    assert np.isfinite(logs).sum(1).tolist() == [rank] * 2
    diagnose(made(make), N)
    assert capfd.readouterr() == ("", "")


def test_a_jacobian_that_does_not_fit_is_refused_before_any_of_it_is_made():
    """1e5 x 1e5 numbers are 80 GB; pointwise chains, and modules that are measured whole, too."""
    x = torch.ones(1, 400_000, dtype=torch.float64)
    for module in (nn.Sequential(nn.Tanh()), nn.DataParallel(nn.Tanh())):
        for function in (jacobian, log_singular_values, batch_jacobian):
            with pytest.raises(MemoryError, match=r"400000 x 400000, takes 1.28e\+12 bytes .*spectral_density"):
                function(module, x)


def test_a_chain_with_a_layer_too_wide_for_matrices_is_measured_whole():
    module = made(lambda: nn.Sequential(nn.Linear(N, 20_000), nn.Tanh(), nn.Linear(20_000, N)))
    singular = np.linalg.svd(autograd(module, inputs()).numpy(), compute_uv=False)
    assert_allclose(log_singular_values(module, inputs()), np.log(singular), rtol=1e-9)
