"""Convolutions, residual blocks, norms: what is refused, by name; calibrated statistics; values like any other."""

import pickle

import numpy as np
import pytest
import torch
from torch import nn

import empirical
import rmt
from empirical.inputs import array, digits
from rmt import (
    Activation,
    AvgPool2d,
    BatchNorm,
    Conv2d,
    Dense,
    Dropout,
    Flatten,
    LayerNorm,
    Network,
    Residual,
    RMSNorm,
    Scale,
    UnsupportedStructure,
    predict,
)
from rmt.networks import zoo

IMAGE = (16, 8, 8)
CIRCULAR = {"padding_mode": "circular"}


def branch(*layers, n=20):
    return Network(n, [Residual(layers), Dense(3)])


REFUSED = [
    (Network(IMAGE, [Conv2d(16, 3), AvgPool2d(2), Conv2d(16, 3)]), "layers[1]: AvgPool2d 2", "use Flatten"),
    (Network(IMAGE, [Conv2d(16, 3, stride=2, padding=1)]), "layers[0]: Conv2d 16 3x3 stride 2", "stride with padding"),
    (Network(IMAGE, [Conv2d(16, 3, padding=0)]), "layers[0]: Conv2d", "use stride 1 with padding='same'"),
    (Network(IMAGE, [Conv2d(16, 3, stride=3, padding=0)]), "layers[0]: Conv2d", "that divides the input"),
    (Network(IMAGE, [Conv2d(16, 5, padding=1)]), "layers[0]: Conv2d", "stride 1"),
    (Network(IMAGE, [Conv2d(16, 3, padding_mode="reflect")]), "layers[0]: Conv2d", "padding_mode='circular'"),
    (Network(IMAGE, [Conv2d(16, 3, padding_mode="replicate")]), "layers[0]: Conv2d", "padding_mode='circular'"),
    (Network(IMAGE, [Conv2d(64, 1, groups=2, init="orthogonal")]), "layers[0]: Conv2d", "groups=1"),
    # post-activation blocks: the second activation sees a sum with a rectified stream
    (Network(20, [Residual([Dense(20)]), Activation("relu")] * 2), "layers[3]: relu needs a Gaussian signal", "Dense"),
    (branch(Dense(20), Activation("relu"), Activation("tanh")), "layers[0].layers[2]: tanh needs", "Dense"),
    (branch(Activation("relu")), "layers[0]: Residual(relu)", "put a Dense"),
    (branch(LayerNorm(), Scale(2)), "layers[0]: Residual(LayerNorm, Scale 2)", "put a Dense"),
    (Network(20, [Residual([Dense(20)], shortcut=[Dense(20)])]), "layers[0]: Residual", "Scale"),
    (Network(20, [Dense(20), Activation("relu"), BatchNorm()]), "layers[2]: BatchNorm behind an activation",
     "between the layer of weights and the activation"),
    (branch(Dense(20), Activation("relu"), BatchNorm()), "layers[0].layers[2]: BatchNorm", "between"),
]


@pytest.mark.parametrize(("network", "who", "instead"), REFUSED, ids=lambda part: str(part)[:40])
def test_what_no_law_covers_is_refused_by_name_with_what_to_use_instead(network, who, instead):
    with pytest.raises(UnsupportedStructure) as error:
        predict(network)
    assert str(error.value).startswith(who)
    assert instead in str(error.value)
    assert "\n" not in str(error.value)
    x = torch.randn(2, *network.input_shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert empirical.build(network, 1)(x).flatten(1).shape == (2, network.n_outputs)  # it can be built all the same


def test_batch_norm_in_training_mode_is_refused():
    for layers in ([Dense(20), BatchNorm()], [Residual([BatchNorm(), Dense(20)])]):
        with pytest.raises(UnsupportedStructure, match=r"layers\[\d\].*BatchNorm in training mode.*gradient_growth"):
            predict(Network(20, layers), training=True)
        assert predict(Network(20, layers)).warnings
    with pytest.raises(UnsupportedStructure, match="inputs of correlation 1 leave it no variance"):
        predict(Network(20, [Dense(20), BatchNorm()]), input_correlation=1)


@pytest.mark.parametrize(("make", "says"), [
    (lambda: Conv2d(0, 3), "channels must be a whole number >= 1, got 0"),
    (lambda: Conv2d(4, (3, 3, 3)), "kernel_size must be a whole number >= 1 or two of them"),
    (lambda: Conv2d(4, 3, padding="valid"), "unknown padding 'valid'"),
    (lambda: Conv2d(4, 3, padding=-1), "padding must be a whole number >= 0, got -1"),
    (lambda: Conv2d(4, 3, stride=2), "stride must be 1 with padding='same', got 2"),
    (lambda: Conv2d(4, 3, padding_mode="circle"), "did you mean 'circular'?"),
    (lambda: Conv2d(4, 3, groups=3), "channels must be a multiple of groups, got 4 and 3"),
    (lambda: Conv2d(4, 3, init="sparse(sparsity=0.5)"), "init must not be 'sparse(sparsity=0.5, std=0.01)'"),
    (lambda: Dense(4, "delta_orthogonal"), "init must not be 'delta_orthogonal'"),
    (lambda: Network(4, [Conv2d(4, 3)]), "layers[0]: Conv2d needs an input (channels, height, width), got shape (4,)"),
    (lambda: Network((3, 4, 4), [Conv2d(4, 3, groups=2)]), "groups must divide the 3 channels"),
    (lambda: Network((3, 4, 4), [Conv2d(4, 5, **CIRCULAR)]), "kernel_size must be at most the input's (4, 4)"),
    (lambda: Network((3, 4, 4), [Conv2d(4, 7, padding=0)]), "kernel_size must fit"),
    (lambda: Network((8, 4, 4), [Conv2d(4, 3, init="delta_orthogonal")]), "channels must be at least the input's 8"),
    (lambda: Network((3, 4, 4), [AvgPool2d(3)]), "layers[0]: AvgPool2d needs"),
    (lambda: Network((3, 4, 4), [Dense(3)]), "put Flatten() before it"),
    (lambda: Network(4, [Residual([Dense(3)])]), "layers[0]: Residual: the branch ends in shape (3,), the shortcut in"),
    (lambda: Network(4, [Residual([Conv2d(3, 3)])]), "layers[0]: Residual: layers[0]: Conv2d needs"),
    (lambda: Residual([]), "layers must not be empty"), (lambda: Residual("ab"), "layers must be a sequence of layers"),
    (lambda: Residual([Dense(3)], scale=float("nan")), "scale must be"),
    (lambda: Residual([Dense(3)], shortcut=[3]), "shortcut must be a sequence of layers"),
    (lambda: BatchNorm(weight=0), "weight must not be 0"), (lambda: BatchNorm(eps=-1), "eps must be in [0, inf)"),
    (lambda: LayerNorm(eps=-1), "eps must be in [0, inf), got -1"), (lambda: RMSNorm(eps="x"), "eps must be a real"),
    (lambda: zoo.resnet(3, 20, norm="batchnorm"), "did you mean 'batch'?"),
    (lambda: zoo.resnet(3, 20, scale="1/L2"), "did you mean '1/L'?"),
    (lambda: zoo.fixup(3, 20, init="orthogonal"), "init must have independent entries"),
])
def test_bad_input_at_the_door(make, says):
    with pytest.raises((TypeError, ValueError)) as error:
        make()
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("network", [
    Network((3, 8, 8), [Conv2d(8, (3, 5), groups=1, bias_std=0.1, **CIRCULAR), BatchNorm(0.5), Activation("relu"),
                        Conv2d(8, 2, 2, 0), Residual([Conv2d(8, 3, init="delta_orthogonal")], 0.3, [Scale(0.5)]),
                        AvgPool2d(2), Flatten(), LayerNorm(), RMSNorm(1e-3), Dropout(0.1), Dense(3)]),
    zoo.resnet(2, 8, image=(4, 4), inputs=3), zoo.residual_mlp(3, 20, "gelu"), zoo.fixup(2, 10), zoo.skipinit(2, 10),
    zoo.stable_resnet(4, 10),
], ids=str)
def test_it_is_a_value(network):
    names = {name: getattr(rmt, name) for name in rmt.__all__}
    for copy in (eval(repr(network), names), pickle.loads(pickle.dumps(network))):
        assert copy == network
        assert hash(copy) == hash(network)
        assert str(copy) == str(network)
    x = torch.randn(3, *network.input_shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    first, second = empirical.build(network, 7), empirical.build(network, 7)
    assert first(x).shape == (3, *network.shapes[-1])
    assert torch.equal(first(x), second(x))


# ---- statistics of batch normalizations -----------------------------------------------------------------------


def normalized(n=12):
    return Network(n, [layer for _ in range(2) for layer in (Dense(n), BatchNorm(), Activation("tanh"))])


def test_measure_calibrates_untrained_statistics_on_a_copy_and_says_so():
    """FAULTS 18: untrained statistics make BatchNorm the identity. The digits are fewer than 2048: all of them."""
    found = empirical.measure(normalized(), draws=2, progress=False)
    assert found.calibrated == 2048
    bare = empirical.measure(Network(12, [layer for layer in normalized().layers if layer != BatchNorm()]), draws=2,
                             progress=False)
    assert bare.calibrated == 0
    assert np.all(np.abs(found.log_singular_values - bare.log_singular_values).max(-1) > 0.1)
    small = Network(64, normalized().layers)
    assert empirical.measure(small, draws=1, inputs=digits(), progress=False).calibrated == 1797


def test_calibrated_statistics_survive_a_file(tmp_path):
    found = empirical.measure(normalized(), draws=1, progress=False)
    found.save(tmp_path / "m.npz")
    assert empirical.Measurement.load(tmp_path / "m.npz").calibrated == 2048


def test_a_module_that_has_statistics_keeps_them():
    def trained():
        module = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Tanh())
        module(torch.randn(50, 4))
        return module

    x = np.random.default_rng(0).normal(size=(20, 4))
    assert empirical.measure(trained, draws=1, inputs=array(x), progress=False).calibrated == 0


def test_untrained_statistics_are_warned_of_where_nothing_is_calibrated():
    module = empirical.build(normalized(), 0)
    x = torch.randn(2, 12, dtype=torch.float64)
    for function in (empirical.jacobian, empirical.log_singular_values):
        with pytest.warns(UserWarning, match="1, 4: BatchNorm without statistics is the identity"):
            function(module, x)
    module.train()
    with pytest.raises(ValueError, match="1: BatchNorm in training mode mixes the samples"):
        empirical.jacobian(module, x)
    bare = nn.Sequential(nn.Linear(12, 12), nn.BatchNorm1d(12, track_running_stats=False)).double().eval()
    with pytest.raises(ValueError, match="1: BatchNorm in training mode"):
        empirical.jacobian(bare, x)


def test_calibration_leaves_the_module_and_trained_statistics_alone():
    from empirical.calibration import calibrated, untrained

    module = empirical.build(normalized(), 0)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    x = torch.randn(100, 12, dtype=torch.float64)
    twin = calibrated(module, x)
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())
    assert not list(untrained(twin))
    assert not any(part.training for part in twin.modules())
    after = twin[2](twin[1](twin[0](x)))
    torch.testing.assert_close(twin[1](twin[0](x)).mean(0), torch.zeros(12, dtype=torch.float64), atol=1e-12, rtol=0)
    torch.testing.assert_close(twin[4](twin[3](after)).var(0), torch.ones(12, dtype=torch.float64), atol=0.02, rtol=0)
    again = calibrated(twin, 3 * x)
    assert torch.equal(again[1].running_var, twin[1].running_var)


# ---- the accurate chain of a built network -------------------------------------------------------------------


def test_the_accurate_chain_has_the_jacobian_of_every_layer():
    layers = [Conv2d(4, 3, **CIRCULAR), BatchNorm(0.7), Activation("tanh"),
              Residual([LayerNorm(), Conv2d(6, 1), Activation("gelu"), Residual([Conv2d(6, 3)]), Conv2d(4, 3)], 0.4,
                       [Scale(0.8)]),
              Flatten(), RMSNorm(), Dense(9)]
    network = Network((3, 4, 4), layers)
    rng = torch.Generator().manual_seed(0)
    module = empirical.calibration.calibrated(empirical.build(network, 3),
                                              torch.randn(200, 3, 4, 4, dtype=torch.float64, generator=rng))
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64, generator=rng)
    found = empirical.log_singular_values(module, x)
    whole = np.linalg.svd(empirical.jacobian(module, x).numpy(), compute_uv=False)
    np.testing.assert_allclose(found[:, :9], np.log(whole), atol=1e-9)
    assert np.all(found[:, 9:] == -np.inf)
