"""Why a module does not run on one input: the line of the user's own file, the submodule, and what it was given."""

from __future__ import annotations

import ast
import inspect
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from empirical.as_found import as_found, evaluating
from empirical.calls import like, ran
from empirical.unwrapped import is_script

_OURS = tuple(str(Path(__file__).parent.parent / name) for name in ("rmt", "empirical", "figures"))
_THEIRS = str(Path(torch.__file__).parent)
_EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)
_LONGEST = 60  # letters of a submodule's text


Entered = list[tuple[str, tuple[int, ...] | None]]  # submodules, the innermost last, and the shapes of their inputs


@dataclass(frozen=True)
class Misfit:
    """Why a module does not run on an input.

    Attributes
    ----------
    reason : str
        What it says, with the line of the user's own file and the submodule.
    whole : bool
        Whether it runs on whole numbers, as of tokens.
    tokens : int or None
        How many entries its first embedding has, then.
    behind : str
        The first submodule that real numbers enter, then; empty if there is none.
    """

    reason: str
    whole: bool = False
    tokens: int | None = None
    behind: str = ""


def misfit(module: nn.Module, shape: tuple[int, ...], tokens: int | None = None,
           file: str | Path = "") -> Misfit | None:
    """Return what stands in the way of running a module on one input of a shape; None if it runs.

    `file` is the one that the module is of: its lines are named before those of libraries. What the forward does to the
    module and to a random state is undone.
    """
    with evaluating(module), as_found(module, like(module)):
        whole = _zeros(module, shape)
        x = whole + (tokens - 1) if tokens is not None else torch.randn((1, *shape)).to(like(module))
        error, path = _error(module, x)
        if error is None:
            return None
        line, runs = _line(error, file), _error(module, whole)[0] is None
        if tokens is None and runs:
            sizes = [part.num_embeddings for part in module.modules() if isinstance(part, _EMBEDDINGS)]
            return Misfit(f"the module takes whole numbers{f' ({line})' if line else ''}", True,
                          sizes[0] if sizes else None, behind(module, shape))
    inner = module.get_submodule(path[-1][0]) if path else None
    line = line or (_made_at(inner, file) if inner is not None and file else "")
    place = ", ".join(part for part in (line, _text(inner, *path[-1]) if inner is not None else "") if part)
    said = " ".join(str(error).split()) or type(error).__name__
    if runs and tokens is not None and isinstance(inner, _EMBEDDINGS) and tokens > inner.num_embeddings:
        said = f"tokens must be at most {inner.num_embeddings}, got {tokens}"
    else:
        said = f"an input of shape {shape} does not fit the module: {said}"
    return Misfit(f"{said}{f' ({place})' if place else ''}")


def _error(module: nn.Module, x: torch.Tensor) -> tuple[Exception | None, Entered]:
    """Return what a call raises, and the submodules that it was in, with the shapes of their inputs."""
    with _entered(module) as path:
        try:
            ran(module, x)
        except Exception as error:  # whatever the user's own code may raise
            return error, path
    return None, path


@contextmanager
def _entered(module: nn.Module) -> Iterator[Entered]:
    """Keep the submodules that have been entered and not left, the innermost last."""
    path: Entered = []

    def enter(name: str, given: tuple[Any, ...]) -> None:
        path.append((name, tuple(given[0].shape) if given and isinstance(given[0], torch.Tensor) else None))

    hooks = []
    for name, part in module.named_modules():
        if name and not is_script(part):
            hooks.append(part.register_forward_pre_hook(lambda _, given, name=name: enter(name, given)))
            hooks.append(part.register_forward_hook(lambda *_: path.pop() and None))
    try:
        yield path
    finally:
        for hook in hooks:
            hook.remove()


def _line(error: BaseException, file: str | Path) -> str:
    """Return the last line that an error came through of the user's own file, or of any but torch's and ours."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__)
              if not frame.filename.startswith((_THEIRS, *_OURS, "<"))]
    own = [frame for frame in frames if file and Path(frame.filename).resolve() == Path(file).resolve()]
    for frame in (own or frames)[-1:]:
        return f"{frame.filename}:{frame.lineno}: {frame.line}"
    return ""


def _made_at(part: nn.Module, file: str | Path) -> str:
    """Return the one line of a file that makes such a submodule, by its class and the numbers given; else ""."""
    try:
        text = Path(file).read_text()
        calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
        names = [*inspect.signature(type(part)).parameters]
    except (OSError, ValueError, SyntaxError):
        return ""

    said: dict[int, int] = {}  # how many numbers of a call are the submodule's, by line
    for call in calls:
        if ast.unparse(call.func).rpartition(".")[2] == type(part).__name__:
            numbers = [(getattr(part, name, None), value.value) for name, value in zip(names, call.args, strict=False)
                       if isinstance(value, ast.Constant)]
            if all(own == given for own, given in numbers if isinstance(own, int)):
                said[call.lineno] = max(len(numbers), said.get(call.lineno, 0))
    places = [line for line, count in said.items() if count == max(said.values())]
    return f"{file}:{places[0]}: {text.splitlines()[places[0] - 1].strip()}" if len(places) == 1 else ""


def _text(part: nn.Module, name: str, shape: tuple[int, ...] | None) -> str:
    """Return a submodule, and the shape that it was given."""
    said = " ".join(repr(part).split())
    said = said if len(said) <= _LONGEST else type(part).__name__
    return f"in {name}: {said}" + (f" of an input {'x'.join(map(str, shape))}" if shape is not None else "")


def behind(module: nn.Module, shape: tuple[int, ...]) -> str:
    """Return the name of the first submodule that real numbers enter when whole ones enter the module; "" if none."""
    found: list[str] = []

    def see(name: str, given: tuple[Any, ...]) -> None:
        if given and isinstance(given[0], torch.Tensor) and given[0].is_floating_point():
            found.append(name)

    hooks = [part.register_forward_pre_hook(lambda _, given, name=name: see(name, given))
             for name, part in module.named_modules() if name and not is_script(part)]
    try:
        with evaluating(module), as_found(module, like(module)):
            ran(module, _zeros(module, shape))
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else ""


def _zeros(module: nn.Module, shape: tuple[int, ...]) -> torch.Tensor:
    return torch.zeros((1, *shape), dtype=torch.int64, device=like(module).device)
