"""Initialization schemes, called as torch calls them; a scheme never looks at the activation."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from scipy import special

from rmt.checks import Number, by_name, choice, number, positive

# torch.nn.init.calculate_gain, squared
_GAINS = {
    "linear": Fraction(1), "sigmoid": Fraction(1), "conv1d": Fraction(1), "conv2d": Fraction(1),
    "conv3d": Fraction(1), "tanh": Fraction(25, 9), "relu": Fraction(2), "selu": Fraction(9, 16),
}


@dataclass(frozen=True)
class Scheme:
    """How a weight matrix is drawn.

    Attributes
    ----------
    call : str
        The call that rebuilds it, as "kaiming_normal(mode='fan_out')".
    gain_squared : Fraction
        The entries' variance times `fan`; for an orthogonal matrix the square of its singular values.
    fan : str
        "fan_in", "fan_out", "average", or "none" where the variance does not know the shape.
    entries : str
        "normal", "uniform", "truncated", "sparse", "orthogonal" for semi-orthogonal (Haar) matrices, or "delta" for
        such a matrix at the centre of a convolution's kernel.
    numbers : tuple
        What else torch is told: (std, bound) of truncated entries, (sparsity, std) of sparse ones.
    bias_gain_squared : Fraction
        The variance times fan_in of the bias that comes with it (torch's default); uniform.
    """

    call: str
    gain_squared: Fraction
    fan: str = "fan_in"
    entries: str = "normal"
    numbers: tuple[float, ...] = ()
    bias_gain_squared: Fraction = Fraction(0)

    def __repr__(self) -> str:
        return f"schemes.{self.call}"

    def __str__(self) -> str:
        """The call without the arguments that torch would take anyway."""
        short = self.call
        for default in ("a=0", "mode='fan_in'", "nonlinearity='leaky_relu'", "gain=1"):
            short = short.replace(f"({default}, ", "(").replace(f", {default}", "").replace(f"({default})", "")
        return short.removesuffix("()")

    @property
    def orthogonal(self) -> bool:
        """Whether the matrix is semi-orthogonal rather than of independent entries."""
        return self.entries == "orthogonal"

    def zeros(self, rows: int) -> int:
        """Return how many of a column's entries are zero: torch rounds up."""
        return math.ceil(self.numbers[0] * rows) if self.entries == "sparse" else 0

    def variance(self, fan_in: int, fan_out: int) -> Fraction:
        """Return the mean square of an entry."""
        if self.orthogonal:
            return self.gain_squared / max(fan_in, fan_out)
        if self.entries == "sparse":
            return self.gain_squared * (1 - Fraction(self.zeros(fan_out), fan_out))
        fans = {"fan_in": Fraction(fan_in), "fan_out": Fraction(fan_out), "average": Fraction(fan_in + fan_out, 2),
                "none": Fraction(1)}
        return self.gain_squared / fans[self.fan]


def _text(x: Number) -> str:
    """A number as it stands in a call: equal numbers, equal text."""
    return repr(int(x) if x == int(x) else x)


def gaussian(sigma_w: Number = 1) -> Scheme:
    """Normal entries of variance sigma_w^2 / fan_in."""
    return _independent("gaussian", sigma_w, "normal")


def uniform(sigma_w: Number = 1) -> Scheme:
    """Uniform entries of mean zero and variance sigma_w^2 / fan_in."""
    return _independent("uniform", sigma_w, "uniform")


def _independent(name: str, sigma_w: Number, entries: str) -> Scheme:
    sigma_w = positive("sigma_w", sigma_w)
    return Scheme(f"{name}(sigma_w={_text(sigma_w)})", Fraction(sigma_w) ** 2, entries=entries)


def normal(std: Number = 1, mean: Number = 0) -> Scheme:
    """Normal entries of standard deviation std whatever the shape: sigma_w^2 is std^2 fan_in.

    `normal_(mean, std)` has torch's order. Entries with a mean other than zero are refused: the matrix then has a
    singular value of its own, far above the law.
    """
    std, mean = number("std", std), number("mean", mean)
    if std == 0 and mean > 0:
        raise ValueError(f"std must be in (0, inf), got 0: normal takes std first, as normal({_text(mean)})")
    std = positive("std", std)
    _centred("mean must be 0", mean == 0, f"mean={mean!r}")
    return Scheme(f"normal(std={_text(std)})", Fraction(std) ** 2, "none")


def _normal_as_torch(mean: Number = 0, std: Number = 1) -> Scheme:
    return normal(std, mean)


def _uniform_as_torch(a: Number = 0, b: Number = 1) -> Scheme:
    """Uniform entries in [a, b], whatever the shape."""
    a, b = number("a", a), positive("b", b)
    _centred("a must be -b", a == -b, f"a={a!r}, b={b!r}")
    return Scheme(f"uniform_(a={_text(a)}, b={_text(b)})", Fraction(b) ** 2 / 3, "none", "uniform")


def _centred(rule: str, holds: bool, got: str) -> None:
    if not holds:
        raise ValueError(f"{rule}: the theory needs entries of mean zero, got {got}")


def lecun_normal() -> Scheme:
    """Normal entries of variance 1 / fan_in (LeCun et al. 1998)."""
    return Scheme("lecun_normal()", Fraction(1))


def xavier_normal(gain: Number = 1) -> Scheme:
    """Normal entries of variance 2 gain^2 / (fan_in + fan_out) (Glorot and Bengio 2010)."""
    return _xavier("xavier_normal", gain, "normal")


def xavier_uniform(gain: Number = 1) -> Scheme:
    """Uniform entries of variance 2 gain^2 / (fan_in + fan_out) (Glorot and Bengio 2010)."""
    return _xavier("xavier_uniform", gain, "uniform")


def _xavier(name: str, gain: Number, entries: str) -> Scheme:
    gain = positive("gain", gain)
    return Scheme(f"{name}(gain={_text(gain)})", Fraction(gain) ** 2, "average", entries)


def kaiming_normal(a: Number = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> Scheme:
    """Normal entries of variance gain^2 / fan, 2/(1 + a^2) for leaky ReLU (He et al. 2015)."""
    return _kaiming("kaiming_normal", a, mode, nonlinearity, "normal")


def kaiming_uniform(a: Number = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> Scheme:
    """Uniform entries of variance gain^2 / fan, 2/(1 + a^2) for leaky ReLU (He et al. 2015)."""
    return _kaiming("kaiming_uniform", a, mode, nonlinearity, "uniform")


def _kaiming(name: str, a: Number, mode: str, nonlinearity: str, entries: str) -> Scheme:
    a = number("a", a)
    mode = choice("mode", mode, ("fan_in", "fan_out"))
    nonlinearity = choice("nonlinearity", nonlinearity, (*_GAINS, "leaky_relu"))
    gain_squared = _GAINS.get(nonlinearity, 2 / (1 + Fraction(a) ** 2))
    return Scheme(f"{name}(a={_text(a)}, mode={mode!r}, nonlinearity={nonlinearity!r})", gain_squared, mode, entries)


def torch_default() -> Scheme:
    """What `torch.nn.Linear` does: uniform entries and a uniform bias, both of variance 1 / (3 fan_in)."""
    third = Fraction(1, 3)
    return Scheme("torch_default()", third, entries="uniform", bias_gain_squared=third)


def trunc_normal(mean: Number = 0, std: Number = 1, a: Number = -2, b: Number = 2) -> Scheme:
    """Normal entries of this std, drawn again outside [a, b] (not in units of std), as torch does.

    Their variance is smaller than std^2 and does not know the shape. Entries with a mean other than zero are refused:
    the matrix then has a singular value of its own, far above the law.
    """
    mean, std, a, b = number("mean", mean), positive("std", std), number("a", a), positive("b", b)
    if mean != 0 or a != -b:
        raise ValueError(f"mean must be 0 and a must be -b: entries of mean zero, got mean={mean!r}, a={a!r}, b={b!r}")
    bound = float(b) / float(std)
    inside = special.erf(bound / math.sqrt(2))
    lost = 2 * bound * math.exp(-(bound**2) / 2) / (math.sqrt(2 * math.pi) * inside)
    # under a tenth of std the entries are uniform to 1e-3, and 1 - lost has no digits
    share = 1 - lost if bound > 0.1 else bound**2 / 3 * (1 - 2 * bound**2 / 15)
    call = f"trunc_normal(mean=0, std={_text(std)}, a={_text(a)}, b={_text(b)})"
    return Scheme(call, Fraction(std) ** 2 * Fraction(share), "none", "truncated", (float(std), float(b)))


def sparse(sparsity: Number, std: Number = 0.01) -> Scheme:
    """Normal entries of this std, but ceil(sparsity * rows) zeros in every column (Martens 2010), as torch does.

    The law is that of many non-zero entries a column; `predict` warns where they are few.
    """
    sparsity, std = number("sparsity", sparsity, 0, high=1, open_high=True), positive("std", std)
    call = f"sparse(sparsity={_text(sparsity)}, std={_text(std)})"
    return Scheme(call, Fraction(std) ** 2, "none", "sparse", (float(sparsity), float(std)))


def orthogonal(gain: Number = 1) -> Scheme:
    """Semi-orthogonal matrices times gain, uniform (Saxe et al. 2014)."""
    gain = positive("gain", gain)
    return Scheme(f"orthogonal(gain={_text(gain)})", Fraction(gain) ** 2, entries="orthogonal")


def delta_orthogonal(gain: Number = 1) -> Scheme:
    """A kernel that is zero but for a semi-orthogonal matrix times gain at its centre (Xiao et al. 2018)."""
    gain = positive("gain", gain)
    return Scheme(f"delta_orthogonal(gain={_text(gain)})", Fraction(gain) ** 2, entries="delta")


REGISTRY: dict[str, Callable[..., Scheme]] = {
    "gaussian": gaussian,
    "normal": normal,
    "uniform": uniform,
    "lecun_normal": lecun_normal,
    "xavier_normal": xavier_normal,
    "xavier_uniform": xavier_uniform,
    "glorot_normal": xavier_normal,
    "glorot_uniform": xavier_uniform,
    "kaiming_normal": kaiming_normal,
    "kaiming_uniform": kaiming_uniform,
    "he_normal": kaiming_normal,
    "he_uniform": kaiming_uniform,
    "torch_default": torch_default,
    "trunc_normal": trunc_normal,
    "sparse": sparse,
    "orthogonal": orthogonal,
    "delta_orthogonal": delta_orthogonal,
}


def checked_bias(init: Scheme, bias_std: object) -> Number:
    """Return the standard deviation of a bias; raise where the scheme brings a bias of its own."""
    found = number("bias_std", bias_std, 0)
    if found and init.bias_gain_squared:
        raise ValueError(f"bias_std must be 0 with init={str(init)!r}, which brings its own bias, got {bias_std!r}")
    return found


# torch.nn.init's functions whose arguments are others than those of the scheme without the underscore
_OF_TORCH: dict[str, Callable[..., Scheme]] = {"normal_": _normal_as_torch, "uniform_": _uniform_as_torch}
_MODULE = re.compile(r"^\s*(?:(?:torch\.)?nn\.)?init\.")  # what may stand before a name of torch's own


def __getattr__(name: str) -> Callable[..., Scheme]:
    """Return the scheme of torch's own name, as `kaiming_normal_`."""
    if not name.startswith("_") and name.endswith("_") and (found := _registered(name)) is not None:
        return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _registered(name: str) -> Callable[..., Scheme] | None:
    return _OF_TORCH.get(name) or REGISTRY.get(name.removesuffix("_"))


def scheme(init: str | Scheme | Callable[..., Any]) -> Scheme:
    """Return the scheme that a name, a call as text, a function of `torch.nn.init`, or a scheme means.

    torch's own names are understood, too, and then its own arguments: "kaiming_normal_", "normal_(0, 0.02)",
    "nn.init.xavier_uniform_(gain=2)", `functools.partial(torch.nn.init.normal_, std=0.02)`.
    """
    if isinstance(init, Scheme):
        return init
    function, options = (init.func, init.keywords) if isinstance(init, functools.partial) else (init, {})
    if getattr(function, "__module__", "") == "torch.nn.init":
        arguments = ", ".join(f"{key}={value!r}" for key, value in options.items())
        return scheme(f"{getattr(function, '__name__', '')}({arguments})")
    if isinstance(init, str):
        text = _MODULE.sub("", init)
        name = text.partition("(")[0].strip()
        if name.endswith("_") and (found := _registered(name)) is not None:
            return by_name("init", text, {name: found})
    return by_name("init", _MODULE.sub("", init) if isinstance(init, str) else init, REGISTRY)
