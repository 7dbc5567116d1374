"""A module read as a path of stages: calls on one signal, sums of branches, and what cannot be split.

By torch.fx, with torch's own modules as leaves; by torch.export where fx cannot trace. A cut point is a node through
which everything passes on its way from the input to the output.
"""

from __future__ import annotations

import logging
import operator
import re
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn

from empirical.calls import Batch, arguments, entry
from empirical.functions import as_module, called, in_place
from empirical.sequential import is_chain, is_leaf, leaves

_TORCH = str(Path(torch.__file__).parent)
_FRAME = re.compile(r'File "(.+)", line (\d+), in .*(?:\n\s*(.*\S))?')


class Untraceable(ValueError):
    """The module cannot be read as stages; the message names the line that stops it."""


@dataclass(frozen=True)
class Stage:
    """What turns one signal into the next.

    Attributes
    ----------
    name : str
        Of the submodule, or of the call.
    where : str
        The file and line that calls it.
    module : torch.nn.Module or None
        The submodule, or one that does what the function does; None where neither is known.
    function : str
        The function that is called; "" for a submodule, and for several calls that cannot be split.
    shape : tuple of int
        Of the output, without the batch axis.
    call : callable
        Runs it on the signal of one sample (batch axis of one).
    parts : tuple of str
        The names of several calls.
    """

    name: str
    where: str
    module: nn.Module | None
    function: str
    shape: tuple[int, ...]
    call: Callable[[torch.Tensor], Any]
    parts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sum:
    """Two branches of one signal, added: an empty one is the signal itself."""

    name: str
    where: str
    branches: tuple[tuple[Stage | Sum, ...], tuple[Stage | Sum, ...]]
    shape: tuple[int, ...]


Steps = tuple[Stage | Sum, ...]


@dataclass(frozen=True, eq=False)
class Graph:
    """A traced module: its nodes in the order in which they run, and the values of those that are given."""

    module: nn.Module
    nodes: tuple[fx.Node, ...]
    output: Any
    given: Mapping[fx.Node, Any] = field(repr=False)

    def path(self, x: Batch, between: tuple[str | None, str | None] | None = None, output: str | int | None = None,
             wrt: str | None = None) -> Steps:
        """Return the stages of one sample (batch axis of one); between and output as `empirical.jacobian` has them."""
        values = self._values(x)
        reader = _Reader(self, values, self._start(x, wrt))
        first, last = between or (None, None)
        end = self._picked(output) if last is None else self._inside(last)[-1]
        if first is not None:
            reader = _Reader(self, values, reader.entered(first, self._inside(first)))
        return reader.path(end)

    def _start(self, x: Batch, wrt: str | None) -> fx.Node:
        key = entry(x, wrt)[0]
        free = [node for node in self.nodes if node.op == "placeholder" and node not in self.given]
        if key is None:
            return free[0]
        found = [node for node in free if node.target == key] or [
            node for node in self.nodes if called(node) == "getitem" and node.args == (free[0], key)]
        if len(found) != 1:
            raise Untraceable(f"the input {key!r} is not seen in the trace")
        return found[0]

    def _inside(self, name: str) -> list[fx.Node]:
        """Return the nodes of a submodule."""
        found = [node for node in self.nodes
                 if any(scope == name for scope, _ in (node.meta.get("nn_module_stack") or {}).values())]
        if not found:
            raise Untraceable(f"no call of the trace is inside {name!r}")
        return found

    def _picked(self, output: str | int | None) -> fx.Node:
        found = self.output
        if output is not None and isinstance(found, fx.Node):  # a class that is called with its fields
            found = {**dict(enumerate(found.args)), **found.kwargs}
        try:
            found = found if output is None else found[output]
        except (KeyError, IndexError, TypeError):
            raise Untraceable(f"output={output!r} is not seen in the trace") from None
        if not isinstance(found, fx.Node):
            raise Untraceable("the output is no single tensor")
        return found

    def _values(self, x: Batch) -> dict[fx.Node, Any]:
        """Return the value of every node at one sample."""
        args, named = arguments(self.module, x)
        values: dict[fx.Node, Any] = dict(self.given)
        free = [node for node in self.nodes if node.op == "placeholder" and node not in values]
        for node, value in zip(free, [*args, *named.values()], strict=False):
            values[node] = named.get(str(node.target), value)
        for node in self.nodes:
            if node not in values:
                values[node] = self.run(node, values)
        return values

    def run(self, node: fx.Node, values: Mapping[fx.Node, Any]) -> Any:
        """Return the value of a node from those that it reads."""
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), lambda read: values[read])
        match node.op:
            case "call_module":
                return self.module.get_submodule(str(node.target))(*args, **kwargs)
            case "call_method":
                return getattr(args[0], str(node.target))(*args[1:], **kwargs)
            case "get_attr":
                return operator.attrgetter(str(node.target))(self.module)
        assert callable(node.target)
        return node.target(*args, **kwargs)


class _Reader:
    """The stages between two nodes, at the values of one sample."""

    def __init__(self, graph: Graph, values: Mapping[fx.Node, Any], first: fx.Node) -> None:
        self.graph, self.values, self.first = graph, values, first
        self.place = {node: i for i, node in enumerate(graph.nodes)}
        self.signals = {first}  # what depends on the input, as a tensor that can be differentiated
        for node in graph.nodes[self.place[first] + 1 :]:
            if _differentiable(values[node]) and any(source in self.signals for source in node.all_input_nodes):
                self.signals.add(node)
        self._check_in_place()

    def _check_in_place(self) -> None:
        for node in self.signals:
            if in_place(node, self.graph.module):
                overwritten = node.all_input_nodes[0]
                if not node.users or any(self.place[user] > self.place[node] for user in overwritten.users):
                    raise Untraceable(f"{_where(node)}: {node.name} overwrites a tensor that is read again")

    def entered(self, name: str, inside: list[fx.Node]) -> fx.Node:
        """Return the signal that the nodes of a submodule read."""
        read = {source for node in inside for source in node.all_input_nodes
                if source not in inside and source in self.signals}
        if len(read) != 1:
            raise Untraceable(f"{name!r} reads {len(read)} signals")
        return read.pop()

    def path(self, last: fx.Node, first: fx.Node | None = None) -> Steps:
        """Return the stages from a node, the input's if none is given, to one that depends on it."""
        first = self.first if first is None else first
        if first is last:
            return ()
        inside = self._between(first, last)
        steps: list[Stage | Sum] = []
        start, group, open_until = first, [], self._last_use(first, inside)
        for node in inside:
            group.append(node)
            here = self.place[node]
            if open_until <= here and _is_signal(self.values[node]):
                steps.append(self._step(start, group))
                start, group = node, []
            open_until = max(open_until, self._last_use(node, inside))
        return tuple(steps)

    def _between(self, first: fx.Node, last: fx.Node) -> dict[fx.Node, None]:
        """Return the signals on the way from first (left out) to last, in order."""
        needed, waiting = set(), [last]
        while waiting:
            node = waiting.pop()
            if node in needed or node is first:
                continue
            needed.add(node)
            waiting += [source for source in node.all_input_nodes if source in self.signals]
        if last not in self.signals:
            raise Untraceable(f"{_where(last)}: {last.name} does not depend on the input")
        if any(self.place[node] < self.place[first] for node in needed):
            raise Untraceable(f"{_where(last)}: {last.name} reads what is computed before {first.name}")
        return dict.fromkeys(sorted(needed, key=self.place.__getitem__))

    def _last_use(self, node: fx.Node, inside: Mapping[fx.Node, None]) -> int:
        return max((self.place[user] for user in node.users if user in inside), default=-1)

    def _step(self, start: fx.Node, group: list[fx.Node]) -> Stage | Sum:
        """Return what leads from one cut point to the next, the last of the group."""
        last = group[-1]
        shape, where = tuple(self.values[last].shape[1:]), _where(last)
        read = [source for source in last.all_input_nodes if source in self.signals]
        if called(last) == "add" and len(read) == 2 and len(last.args) == 2 and not last.kwargs:
            if all(self.values[source].shape == self.values[last].shape for source in read):
                return Sum(last.name, where, (self.path(read[0], start), self.path(read[1], start)), shape)
        if len(group) > 1:
            return Stage(last.name, where, None, "", shape, self._call(start, group), tuple(n.name for n in group))
        if last.op == "call_module":
            return Stage(str(last.target), where, self.graph.module.get_submodule(str(last.target)), "", shape,
                         self._call(start, group))
        known = as_module(last, start, self.values)
        return Stage(last.name, where, known, called(last), shape, self._call(start, group))

    def _call(self, start: fx.Node, group: list[fx.Node]) -> Callable[[torch.Tensor], Any]:
        def call(signal: torch.Tensor) -> Any:
            values = {**self.values, start: signal}
            for node in group:
                values[node] = self.graph.run(node, values)
            return values[group[-1]]

        return call


def chain(module: nn.Module) -> Steps | None:
    """Return the stages of an `nn.Sequential` of torch's own modules, which need no tracing; None of any other."""
    if not is_chain(module) or not all(is_leaf(leaf) for leaf in leaves(module)):
        return None
    names = {leaf: name for name, leaf in module.named_modules()}
    return tuple(Stage(names[leaf], "", leaf, "", (), leaf) for leaf in leaves(module))


def traced(module: nn.Module, x: Batch, lines: bool = False) -> Graph:
    """Return the graph of a module that is called with x; raise `Untraceable` with the line that stops it.

    Parameters
    ----------
    module : torch.nn.Module
        Its attributes are as before when this returns.
    x : tensor or mapping
        One sample, batch axis of one.
    lines : bool
        Whether every node is to know the line that calls it, which takes longer.
    """
    args, named = arguments(module, x)
    with _attributes(module):
        try:
            return _by_fx(module, named, lines)
        except Exception as symbolic:
            try:
                return _by_export(module, args, named)
            except Exception as exported:
                line = _line(exported) or _line(symbolic)
                reason = str(symbolic if not _line(exported) else exported).strip().splitlines()[0]
                raise Untraceable(f"{line or type(module).__name__}: {reason}") from None


class _Tracer(fx.Tracer):
    def __init__(self, lines: bool) -> None:
        super().__init__()
        self.record_stack_traces = lines

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return is_leaf(module)


def _by_fx(module: nn.Module, named: Mapping[str, Any], lines: bool) -> Graph:
    code = type(module).forward.__code__
    defaults = {} if not named else {name: None for name in code.co_varnames[1 : code.co_argcount]
                                     if name not in named}
    graph = _Tracer(lines).trace(module, concrete_args=defaults or None)
    *nodes, last = graph.nodes
    given = {node: None for node in nodes if node.op == "placeholder" and _argument(node) in defaults}
    merged: dict[Any, fx.Node] = {}  # an entry of a mapping is one signal, however often it is read
    for node in nodes:
        if called(node) == "getitem" and node.args[0].op == "placeholder" and isinstance(node.args[1], str):
            same = merged.setdefault(node.args, node)
            if same is not node:
                node.replace_all_uses_with(same)
    return Graph(module, tuple(node for node in nodes if node.users or in_place(node, module)), last.args[0], given)


def _argument(node: fx.Node) -> str:
    return re.sub(r"_1$", "", str(node.target))  # fx renames what it makes concrete


def _by_export(module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> Graph:
    with _quietly():
        program = torch.export.export(module, args, named, strict=False)
    signature = program.graph_signature
    parameters = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    constants = signature.inputs_to_lifted_tensor_constants
    *nodes, last = program.graph.nodes
    given: dict[fx.Node, Any] = {}
    for node in nodes:
        if node.name in parameters:
            given[node] = operator.attrgetter(parameters[node.name])(module)
        elif node.name in constants:
            given[node] = program.constants[constants[node.name]]
    results = torch.utils._pytree.tree_unflatten(list(last.args[0])[-program.call_spec.out_spec.num_leaves :],
                                                 program.call_spec.out_spec)
    return Graph(module, tuple(nodes), results, given)


@contextmanager
def _quietly() -> Iterator[None]:
    """Export without fused attention, which has no parts, and without what torch says of failures on its own."""
    fast, log = torch.backends.mha.get_fastpath_enabled(), logging.getLogger("torch.fx.experimental.symbolic_shapes")
    torch.backends.mha.set_fastpath_enabled(False)
    was, log.disabled = log.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        log.disabled = was


@contextmanager
def _attributes(module: nn.Module) -> Iterator[None]:
    """Put back what a module keeps of its last run, which while tracing is no tensor."""
    saved = [(part, dict(part.__dict__)) for part in module.modules()]
    try:
        yield
    finally:
        for part, attributes in saved:
            part.__dict__.clear()
            part.__dict__.update(attributes)


def _differentiable(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return any(_differentiable(part) for part in value)
    return isinstance(value, torch.Tensor) and (value.is_floating_point() or value.is_complex())


def _is_signal(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point()


def _where(node: fx.Node) -> str:
    """Return the file and line that calls a node, and what stands there."""
    frames = [frame for frame in _FRAME.findall(node.meta.get("stack_trace") or "") if not _ours(frame[0])]
    return f"{frames[-1][0]}:{frames[-1][1]}: {frames[-1][2]}" if frames else node.name


def _line(error: BaseException) -> str:
    """Return the last line of the user's own code that an error came through."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _ours(frame.filename)]
    return f"{frames[-1].filename}:{frames[-1].lineno}: {frames[-1].line}" if frames else ""


def _ours(file: str) -> bool:
    return file.startswith((_TORCH, str(Path(__file__).parent), "<"))
