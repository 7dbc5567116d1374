"""Networks that people train, at initialization: torch alone, weights from torch's global random state.

Layers and initial weights are those of the papers and of their usual code; defaults are small where the name fixes no
size, and docstrings say which arguments give the published one. `ZOO` has a small network of each kind.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from rmt.checks import choice, integer

_STD = 0.02  # of a transformer's weights
_VGG11 = (1, 0, 2, 0, 4, 4, 0, 8, 8, 0, 8, 8, 0)  # channels over the first layer's; 0: a max pooling
_fan_out = partial(nn.init.kaiming_normal_, mode="fan_out", nonlinearity="relu")


def _initialize(module: nn.Module, kind: type[nn.Conv2d | nn.Linear], draw: Callable[[torch.Tensor], object]) -> None:
    """Draw the weights of all layers of a kind; their biases are zero."""
    for part in module.modules():
        if isinstance(part, kind):
            draw(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)


class BasicBlock(nn.Module):
    """relu(f(x) + shortcut(x)), f two convolutions with normalization (He et al. 2016, the first paper)."""

    def __init__(self, inputs: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = None if stride == 1 and inputs == channels else nn.Sequential(
            nn.Conv2d(inputs, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, channels, height / stride, width / stride)."""
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(out + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """A stem, four stages of blocks at widths 1, 2, 4 and 8, the average over the image, a linear layer."""

    def __init__(self, classes: int, width: int, large: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7 if large else 3, 2 if large else 1, padding=3 if large else 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1) if large else nn.Identity()
        self.stages = nn.Sequential(*(nn.Sequential(BasicBlock(width << max(i - 1, 0), width << i, 2 if i else 1),
                                                    BasicBlock(width << i, width << i, 1)) for i in range(4)))
        self.fc = nn.Linear(8 * width, classes)
        _initialize(self, nn.Conv2d, _fan_out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits (batch, classes) of images (batch, 3, height, width)."""
        x = self.stages(self.maxpool(F.relu(self.bn1(self.conv1(x)))))
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


def resnet18(classes: int = 10, width: int = 64, stem: str = "imagenet") -> ResNet:
    """Return ResNet-18 of images (3, height, width); 11,689,512 parameters at 1000 classes.

    `width` is the channels of its first stage; the stem "imagenet" is 7 x 7 at stride 2 and a max pooling, "cifar"
    3 x 3 alone. Convolutions are normal of variance 2 / fan_out, the last layer is torch's default, as in torchvision.
    """
    large = choice("stem", stem, ("imagenet", "cifar")) == "imagenet"
    return ResNet(integer("classes", classes), integer("width", width), large)


class VGG(nn.Module):
    """Convolutions with normalization between max poolings, then three linear layers with dropout."""

    def __init__(self, classes: int, width: int, image: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before, hidden = 3, 64 * width
        for channels in (times * width for times in _VGG11):
            layers += [nn.Conv2d(before, channels, 3, padding=1), nn.BatchNorm2d(channels),
                       nn.ReLU()] if channels else [nn.MaxPool2d(2)]
            before = channels or before
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Linear(before * (image // 32) ** 2, hidden), nn.ReLU(), nn.Dropout(),
            nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(), nn.Linear(hidden, classes))
        _initialize(self, nn.Conv2d, _fan_out)
        _initialize(self, nn.Linear, partial(nn.init.normal_, std=0.01))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits (batch, classes) of images (batch, 3, image, image)."""
        return self.classifier(torch.flatten(self.features(x), 1))


def vgg_bn(classes: int = 10, width: int = 64, image: int = 32) -> VGG:
    """Return VGG-11 with normalization of images (3, image, image); 132,868,840 parameters at 1000 classes, image 224.

    `width` is the channels of its first layer, a 64th of the units of its linear ones. Convolutions are normal of
    variance 2 / fan_out, linear layers normal of deviation .01, biases zero, as in torchvision.
    """
    return VGG(integer("classes", classes), integer("width", width), _multiple("image", image, 32, "five halvings"))


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)): a transformer's block with the norms first."""

    def __init__(self, width: int, heads: int, causal: bool, eps: float, gelu: str) -> None:
        super().__init__()
        self.heads, self.causal, self.gelu = heads, causal, gelu
        self.norm1, self.norm2 = nn.LayerNorm(width, eps), nn.LayerNorm(width, eps)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, length, width) of the same."""
        x = x + self.attention(self.norm1(x))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x)), approximate=self.gelu))

    def attention(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the heads read, (batch, length, width) of the same."""
        batch, length, width = x.shape
        qkv = self.qkv(x).reshape(batch, length, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each (batch, heads, length, width / heads)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.proj(y.transpose(1, 2).reshape(batch, length, width))


class ViT(nn.Module):
    """Patches, a class token, learned positions, blocks; the logits are read off the class token."""

    def __init__(self, image: int, patch: int, width: int, depth: int, heads: int, classes: int) -> None:
        super().__init__()
        draw = partial(nn.init.trunc_normal_, std=_STD)
        self.patch_embedding = nn.Conv2d(3, width, patch, patch)
        self.class_token = nn.Parameter(draw(torch.empty(1, 1, width)))
        self.positions = nn.Parameter(draw(torch.empty(1, (image // patch) ** 2 + 1, width)))
        self.blocks = nn.Sequential(*(Block(width, heads, causal=False, eps=1e-6, gelu="none") for _ in range(depth)))
        self.norm = nn.LayerNorm(width, 1e-6)
        self.head = nn.Linear(width, classes)
        _initialize(self, nn.Linear, draw)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits (batch, classes) of images (batch, 3, image, image)."""
        x = self.patch_embedding(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(x.shape[0], -1, -1), x], dim=1) + self.positions
        return self.head(self.norm(self.blocks(x))[:, 0])


def vit(image: int = 32, patch: int = 4, width: int = 64, depth: int = 4, heads: int = 4, classes: int = 10) -> ViT:
    """Return a vision transformer of images (3, image, image), `depth` blocks on a stream of `width`.

    ViT-B/16 is `vit(224, 16, 768, 12, 12, 1000)`, 86,567,656 parameters. Linear layers, positions and class token are
    truncated normals of deviation .02, the patches' convolution is torch's default (Touvron et al. 2021).
    """
    width = _multiple("width", width, integer("heads", heads), "the heads")
    image = _multiple("image", image, integer("patch", patch), "the patch")
    return ViT(image, patch, width, integer("depth", depth), heads, integer("classes", classes))


class GPT(nn.Module):
    """Tokens and learned positions, causal blocks, a norm, logits by the tokens' own embedding."""

    def __init__(self, vocabulary: int, context: int, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(vocabulary, width)
        self.position_embedding = nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width, heads, causal=True, eps=1e-5, gelu="tanh") for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.token_embedding.weight
        for name, value in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(value)
            elif value.ndim == 2:
                last = name.endswith(("proj.weight", "fc2.weight"))  # of a residual branch
                nn.init.normal_(value, std=_STD * (2 * depth) ** -0.5 if last else _STD)

    def forward(self, tokens: torch.Tensor | None = None, embeddings: torch.Tensor | None = None) -> torch.Tensor:
        """Return logits (batch, length, vocabulary) of tokens (batch, length) or embeddings (batch, length, width)."""
        if (tokens is None) == (embeddings is None):
            raise ValueError("GPT takes either tokens or embeddings")
        x = self.token_embedding(tokens) if embeddings is None else embeddings
        x = x + self.position_embedding.weight[: x.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


class FromEmbeddings(nn.Module):
    """A language model as a function of its tokens' embeddings, which have a Jacobian as tokens have not."""

    def __init__(self, model: GPT) -> None:
        super().__init__()
        self.model = model

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Return logits (batch, length, vocabulary) of embeddings (batch, length, width)."""
        return self.model(embeddings=embeddings)


def gpt(vocabulary: int = 64, context: int = 16, width: int = 32, depth: int = 4, heads: int = 4,
        from_embeddings: bool = False) -> nn.Module:
    """Return a GPT-2 of texts of up to `context` tokens, or of their embeddings (`FromEmbeddings`).

    The small one is `gpt(50257, 1024, 768, 12, 12)`, 124,439,808 parameters. Weights and embeddings are normal of
    deviation .02, those that end a residual branch of .02 / sqrt(2 depth), biases zero (Radford et al. 2019).
    """
    width = _multiple("width", width, integer("heads", heads), "the heads")
    model = GPT(integer("vocabulary", vocabulary), integer("context", context), width, integer("depth", depth), heads)
    return FromEmbeddings(model) if from_embeddings else model


def transformer_encoder(width: int = 32, depth: int = 2, heads: int = 4) -> nn.TransformerEncoder:
    """Return torch's own encoder of (length, width), norms last, with ReLU and dropout .1.

    The base of Vaswani et al. (2017) is `transformer_encoder(512, 6, 8)`. Every matrix is drawn anew by xavier_uniform,
    as `nn.Transformer` does it: an `nn.TransformerEncoder` alone begins with the same weights in all its layers.
    """
    width = _multiple("width", width, integer("heads", heads), "the heads")
    layer = nn.TransformerEncoderLayer(width, heads, dim_feedforward=4 * width, batch_first=True)
    encoder = nn.TransformerEncoder(layer, integer("depth", depth), enable_nested_tensor=False)
    for parameter in encoder.parameters():
        if parameter.ndim > 1:
            nn.init.xavier_uniform_(parameter)
    return encoder


def _multiple(name: str, value: object, of: int, why: str) -> int:
    size = integer(name, value)
    if size % of:
        raise ValueError(f"{name} must be a multiple of {of} ({why}), got {value!r}")
    return size


# A small network of each kind: what makes it, and the shape of one input.
ZOO: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "resnet18": (partial(resnet18, width=8, stem="cifar"), (3, 16, 16)),
    "vgg_bn": (partial(vgg_bn, width=4), (3, 32, 32)),
    "vit": (partial(vit, image=16, width=32, depth=2), (3, 16, 16)),
    "gpt": (partial(gpt, depth=2, from_embeddings=True), (16, 32)),
    "transformer_encoder": (transformer_encoder, (8, 32)),
}
