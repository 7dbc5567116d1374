"""Modules as people wrap, checkpoint, script and write them, and their Jacobians by plain autograd."""


import torch
from torch import nn
from torch.nn.utils import prune
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

N = 6


def inputs(count=2):
    return torch.randn(count, N, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def linear():
    return nn.Linear(N, N)


def chain():
    return nn.Sequential(linear(), nn.Tanh(), linear())


class Own(nn.Module):
    """A forward of one's own, of two layers."""

    def __init__(self, forward):
        super().__init__()
        self.a, self.b, self.own = linear(), linear(), forward

    def forward(self, x):
        return self.own(self, x)


class Checkpointed(nn.Module):
    """Blocks that are computed anew on the way back."""

    def __init__(self, reentrant, shortcut=False):
        super().__init__()
        self.reentrant, self.shortcut = reentrant, shortcut
        self.blocks = nn.ModuleList([nn.Sequential(linear(), nn.Tanh()) for _ in range(3)])

    def forward(self, x):
        for block in self.blocks:
            x = (x if self.shortcut else 0) + checkpoint(block, x, use_reentrant=self.reentrant)
        return x


class Segments(nn.Module):
    """A sequence in checkpointed segments."""

    def __init__(self, reentrant):
        super().__init__()
        self.reentrant = reentrant
        self.chain = nn.Sequential(*[part for _ in range(4) for part in (linear(), nn.Tanh())])

    def forward(self, x):
        return checkpoint_sequential(self.chain, 2, x, use_reentrant=self.reentrant)


class Old(torch.autograd.Function):
    """A derivative of one's own in the old style, which torch.func refuses."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.sin(x)

    @staticmethod
    def backward(ctx, g):
        return g * torch.cos(ctx.saved_tensors[0])


class Again(torch.autograd.Function):
    """A checkpoint of one's own, as libraries have: it runs the module once more on the way back."""

    @staticmethod
    def forward(ctx, x, module):
        ctx.save_for_backward(x)
        ctx.module = module
        with torch.no_grad():
            return module(x)

    @staticmethod
    def backward(ctx, g):
        x = ctx.saved_tensors[0].detach().requires_grad_(True)
        with torch.enable_grad():
            y = ctx.module(x)
        torch.autograd.backward(y, g)
        return x.grad, None


def forces(own, x):
    with torch.enable_grad():
        x = x if x.requires_grad else x.requires_grad_(True)
        return torch.autograd.grad(torch.tanh(own.a(x)).square().sum(), x, create_graph=True)[0]


def averaged(module):
    return torch.optim.swa_utils.AveragedModel(module)


MEASURED = {
    "checkpoint, reentrant": lambda: Checkpointed(True),
    "checkpoint, not reentrant": lambda: Checkpointed(False),
    "checkpointed residual, reentrant": lambda: Checkpointed(True, shortcut=True),
    "checkpointed residual, not reentrant": lambda: Checkpointed(False, shortcut=True),
    "segments, reentrant": lambda: Segments(True),
    "segments, not reentrant": lambda: Segments(False),
    "a checkpointed part": lambda: nn.Sequential(linear(), Checkpointed(True), Checkpointed(False), linear()),
    "a checkpoint of one's own": lambda: Own(lambda own, x: own.b(Again.apply(x, own.a))),
    "a derivative of one's own": lambda: Own(lambda own, x: own.b(Old.apply(own.a(x)))),
    "DataParallel": lambda: nn.DataParallel(chain()),
    "DataParallel of a checkpoint": lambda: nn.DataParallel(Checkpointed(True)),
    "DataParallel inside": lambda: nn.Sequential(linear(), nn.DataParallel(chain()), nn.Tanh()),
    "DataParallel twice": lambda: nn.DataParallel(nn.DataParallel(chain())),
    "averaged": lambda: averaged(chain()),
    "averaged inside": lambda: nn.Sequential(averaged(chain()), linear()),
    "scripted": lambda: torch.jit.script(chain()),
    "traced": lambda: torch.jit.trace(chain(), torch.ones(1, N)),
    "scripted inside": lambda: nn.Sequential(linear(), torch.jit.script(chain()), nn.Tanh()),
    "one number": lambda: Own(lambda own, x: own.b(torch.tanh(own.a(x))).sum()),
    "one number a sample": lambda: Own(lambda own, x: own.b(torch.tanh(own.a(x))).sum(1)),
    "a loss": lambda: Own(lambda own, x: own.b(torch.tanh(own.a(x))).square().mean()),
    "no batch axis in the output": lambda: Own(lambda own, x: own.b(own.a(x)).squeeze()),
    "the batch axis last": lambda: Own(lambda own, x: own.b(own.a(x)).T),
    "a test of values": lambda: Own(lambda own, x: own.b(own.a(x)) if x.sum().item() > -100 else x),
    "a scale by .item()": lambda: Own(lambda own, x: own.b(own.a(x) * x.abs().max().item())),
    "a branch of no gradient": lambda: Own(lambda own, x: own.b(x) + own.a(x).detach()),
    "straight through": lambda: Own(lambda own, x: own.b(own.a(x) + (own.a(x).round() - own.a(x)).detach())),
    "a derivative inside": lambda: Own(lambda own, x: own.b(torch.func.vmap(torch.func.grad(
        lambda z: own.a(z).tanh().square().sum()))(x))),
    "forces of an energy": lambda: Own(forces),
    "hook-based norms": lambda: nn.Sequential(nn.utils.weight_norm(linear()), nn.Tanh(),
                                              nn.utils.spectral_norm(linear())),
    "pruned": lambda: nn.Sequential(prune.l1_unstructured(linear(), "weight", 0.3), nn.Tanh()),
}


def made(make):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        return make().double().eval()


def autograd(module, x, picked=lambda y: y):
    """The Jacobian by plain autograd, of every sample alone, with gradients of parameters where a checkpoint asks."""
    rows = []
    for sample in x:
        leaf = sample[None].clone().requires_grad_(True)
        out = picked(module(leaf)).flatten()
        rows.append([])
        for i in range(len(out)):
            leaf.grad = None
            out = picked(module(leaf)).flatten()
            if out.requires_grad:
                out[i].backward()
            rows[-1].append(torch.zeros(N).double() if leaf.grad is None else leaf.grad[0].clone())
        rows[-1] = torch.stack(rows[-1])
    for parameter in module.parameters():
        parameter.grad = None
    return torch.stack(rows)


def growth(found):
    """What a diagnosis says of the growth of gradients."""
    return [line for line in found.advice if "squared gradients" in line]
