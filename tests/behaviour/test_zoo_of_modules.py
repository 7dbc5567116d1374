"""Networks that people train, built from torch alone: their published sizes, their weights, their shapes."""

import pickle

import pytest
import torch
from torch import nn

from empirical import jacobian
from empirical.zoo import ZOO, FromEmbeddings, gpt, resnet18, transformer_encoder, vgg_bn, vit

PUBLISHED = {
    "ResNet-18": (lambda: resnet18(1000), 11_689_512),
    "ResNet-18 of CIFAR-10": (lambda: resnet18(10, stem="cifar"), 11_173_962),
    "VGG-11-BN": (lambda: vgg_bn(1000, image=224), 132_868_840),
    "ViT-B/16": (lambda: vit(224, 16, 768, 12, 12, 1000), 86_567_656),
    "GPT-2 small": (lambda: gpt(50257, 1024, 768, 12, 12), 124_439_808),
}


def small(name, dtype=torch.float64, seed=1):
    torch.manual_seed(seed)
    factory, shape = ZOO[name]
    return factory().to(dtype), torch.randn(2, *shape, dtype=dtype)


@pytest.fixture(autouse=True)
def random_state():
    with torch.random.fork_rng(devices=[]):
        yield


@pytest.mark.parametrize("name", PUBLISHED)
def test_true_sizes_have_the_published_number_of_parameters(name):
    """On the meta device: no memory, and no weights drawn."""
    make, count = PUBLISHED[name]
    with torch.device("meta"):
        module = make()
    assert sum(value.numel() for value in module.parameters()) == count
    assert all(value.is_meta for value in module.parameters())


@pytest.mark.parametrize("name", ZOO)
@pytest.mark.parametrize("training", [False, True])
def test_small_ones_run_in_both_modes(name, training):
    module, x = small(name, torch.float32)
    y = module.train(training)(x)
    assert tuple(y.shape) == {"gpt": (2, 16, 64), "transformer_encoder": (2, 8, 32)}.get(name, (2, 10))
    assert torch.isfinite(y).all()
    assert y.std() > 0


@pytest.mark.parametrize("name", ZOO)
def test_a_seed_decides_the_weights_and_a_copy_crosses_to_another_process(name):
    once, again, other = (small(name, seed=seed)[0].state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(once[key], value) for key, value in again.items())
    assert not all(torch.equal(once[key], value) for key, value in other.items())
    pickle.dumps(ZOO[name][0])


@pytest.mark.parametrize("name", ZOO)
@pytest.mark.filterwarnings("ignore:.*BatchNorm without statistics:UserWarning")
def test_their_jacobian_is_that_of_finite_differences(name):
    module, x = small(name)
    module.eval()
    if name == "gpt":
        x = x[:, :4]
    v = torch.randn_like(x)
    with torch.no_grad():
        slope = (module(x + 1e-5 * v) - module(x - 1e-5 * v)).flatten(1) / 2e-5
    along = torch.einsum("boi,bi->bo", jacobian(module, x), v.flatten(1))
    assert torch.allclose(along, slope, rtol=0, atol=1e-6 * float(slope.abs().max()))


def deviations(module):
    """Standard deviations of the large weights, by name."""
    return {name: float(value.detach().std()) for name, value in module.named_parameters() if value.ndim > 1}


def test_weights_have_the_deviations_of_the_originals():
    torch.manual_seed(0)
    for name, std in deviations(gpt(vocabulary=500, context=200, width=96, depth=8)).items():
        last = name.endswith(("proj.weight", "fc2.weight"))
        assert std == pytest.approx(0.02 / 4 if last else 0.02, rel=0.05), name
    for name, std in deviations(vit(width=96)).items():
        if name != "patch_embedding.weight":
            assert std == pytest.approx(0.02, rel=0.15 if "head" in name or "token" in name else 0.05), name
    convolutions = [m for m in resnet18(width=16).modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == 20
    for m in convolutions:
        fan_out = m.out_channels * m.kernel_size[0] ** 2
        assert float(m.weight.detach().std()) == pytest.approx((2 / fan_out) ** 0.5, rel=0.15)
    vgg = vgg_bn(width=8)
    assert float(vgg.classifier[3].weight.detach().std()) == pytest.approx(0.01, rel=0.05)
    assert not vgg.classifier[3].bias.any()


def test_the_head_of_gpt_is_its_embedding():
    model = gpt()
    assert model.head.weight is model.token_embedding.weight
    tokens = torch.randint(64, (3, 7))
    logits = model(tokens)
    assert torch.equal(logits, FromEmbeddings(model)(model.token_embedding(tokens)))
    with pytest.raises(ValueError, match="either tokens or embeddings"):
        model()


def test_gpt_looks_back_only():
    model, x = small("gpt")
    moved = x.clone()
    moved[:, 5, 0] += 1
    same = (model(x) == model(moved)).flatten(2).all(2).all(0)
    assert same[:5].all()
    assert not same[5:].any()


def test_the_layers_of_the_encoder_begin_with_weights_of_their_own():
    first, second = transformer_encoder().layers
    assert not torch.equal(first.linear1.weight, second.linear1.weight)


@pytest.mark.parametrize(("make", "match"), [
    (lambda: vit(image=30), "image must be a multiple of 4 .the patch., got 30"),
    (lambda: gpt(width=30), "width must be a multiple of 4 .the heads., got 30"),
    (lambda: vgg_bn(image=48), "image must be a multiple of 32"),
    (lambda: resnet18(stem="cifer"), "did you mean 'cifar'"),
    (lambda: transformer_encoder(depth=0), "depth must be a whole number >= 1, got 0"),
])
def test_bad_sizes_are_refused_by_name(make, match):
    with pytest.raises(ValueError, match=match):
        make()
