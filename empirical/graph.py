"""A module read as a path of stages: calls on one signal, sums of branches, and what cannot be split.

A cut point is a node through which everything passes on its way from the input to the output.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx, nn

from empirical import lines
from empirical.calls import Batch, arguments, entry
from empirical.cut import picked
from empirical.functions import ELEMENTWISE, REARRANGING, as_module, called, in_place
from empirical.sequential import altered, is_chain, is_leaf, leaves


class Untraceable(ValueError):
    """The module cannot be read as stages; the message names the line that stops it."""


@dataclass(frozen=True)
class Stage:
    """What turns one signal into the next.

    Attributes
    ----------
    name : str
        Of the submodule, or of the call; of several calls, the one for which they cannot be split.
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
        try:
            picked(values[end], None)
        except ValueError as error:
            raise Untraceable(str(error)) from None
        return reader.path(end)

    def _start(self, x: Batch, wrt: str | None) -> fx.Node:
        key = entry(x, wrt)[0]
        free = [node for node in self.nodes if node.op == "placeholder" and node not in self.given]
        if not free:
            raise Untraceable("the output does not depend on the input")
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
        if output is not None and isinstance(found, fx.Node) and isinstance(found.target, type):
            # a class that is called with its fields
            names = getattr(found.target, "__match_args__", ())
            found = {**dict(enumerate(found.args)), **dict(zip(names, found.args, strict=False)), **found.kwargs}
        elif isinstance(output, str) and hasattr(found, "_asdict"):
            found = found._asdict()
        try:
            found = found if output is None else found[output]
        except (KeyError, IndexError, TypeError):
            raise Untraceable(f"output={output!r} is not seen in the trace") from None
        if not isinstance(found, fx.Node):
            raise Untraceable("the output is no single tensor of the input's (output= says which of several)")
        return found

    def _values(self, x: Batch) -> dict[fx.Node, Any]:
        """Return the value of every node at one sample."""
        args, named = arguments(self.module, x)
        values: dict[fx.Node, Any] = dict(self.given)
        free = [node for node in self.nodes if node.op == "placeholder" and node not in values]
        for node, value in zip(free, [*args, *named.values()], strict=False):
            values[node] = named.get(str(node.target), value)
        for node in self.nodes:
            if node not in values and node.op == "placeholder":
                raise Untraceable(f"its forward needs {node.target!s}, too, and one input is given")
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
        assert callable(node.target)
        return node.target(*args, **kwargs)


class _Reader:
    """The stages between two nodes, at the values of one sample."""

    def __init__(self, graph: Graph, values: Mapping[fx.Node, Any], first: fx.Node) -> None:
        self.graph, self.values, self.first = graph, values, first
        self.place = {node: i for i, node in enumerate(graph.nodes)}
        self.signals = {first}  # what depends on the input, as a tensor that can be differentiated
        self.depending = {first}  # and as anything else
        for node in graph.nodes[self.place[first] + 1 :]:
            if not self.depending.isdisjoint(node.all_input_nodes):
                self.depending.add(node)
            if _differentiable(values[node]) and any(source in self.signals for source in node.all_input_nodes):
                self.signals.add(node)
        self._check_in_place()

    def _check_in_place(self) -> None:
        for node in self.signals:
            if in_place(node, self.graph.module):
                overwritten = node.all_input_nodes[0]
                if not node.users or any(self.place[user] > self.place[node] for user in overwritten.users):
                    raise Untraceable(f"{lines.at(node)} overwrites a tensor that is read again")

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
        needed: set[fx.Node] = set()
        waiting = [last]
        while waiting:
            node = waiting.pop()
            if node in needed or node is first:
                continue
            needed.add(node)
            waiting += [source for source in node.all_input_nodes if source in self.signals]
        if last not in self.signals:
            raise Untraceable(f"{lines.at(last)} does not depend on the input")
        if any(self.place[node] < self.place[first] for node in needed):
            raise Untraceable(f"{lines.at(last)} reads what is computed before {lines.named(first)}")
        return dict.fromkeys(sorted(needed, key=self.place.__getitem__))

    def _last_use(self, node: fx.Node, inside: Mapping[fx.Node, None]) -> int:
        return max((self.place[user] for user in node.users if user in inside), default=-1)

    def _step(self, start: fx.Node, group: list[fx.Node]) -> Stage | Sum:
        """Return what leads from one cut point to the next, the last of the group."""
        last = group[-1]
        shape, where = tuple(self.values[last].shape[1:]), lines.of_node(last)
        read = [source for source in last.all_input_nodes if source in self.signals]
        if called(last) == "add" and len(read) == 2 and len(last.args) == 2 and not last.kwargs:
            apart = set(self._between(start, read[0])).isdisjoint(self._between(start, read[1]))
            if apart and all(self.values[source].shape == self.values[last].shape for source in read):
                return Sum(lines.named(last), where, (self.path(read[0], start), self.path(read[1], start)), shape)
        if len(group) > 1:
            first = self._hindrance(group)
            return Stage(lines.named(first), lines.of_node(first), None, "", shape, self._call(start, group),
                         tuple(node.name for node in group))
        if last.op == "call_module":
            return Stage(str(last.target), where, self.graph.module.get_submodule(str(last.target)), "", shape,
                         self._call(start, group))
        known = as_module(last, start, self.values)
        return Stage(lines.named(last), where, known, called(last), shape, self._call(start, group))

    def _hindrance(self, group: list[fx.Node]) -> fx.Node:
        """Return the node for which a group cannot be split: it reads two signals, or nothing is known of it."""
        for node in group:
            read = [source for source in node.all_input_nodes if source in self.signals]
            if len(read) > 1 or (node.op != "call_module" and called(node) not in ELEMENTWISE | REARRANGING
                                 and as_module(node, read[0], self.values) is None):
                return node
        return group[0]

    def _call(self, start: fx.Node, group: list[fx.Node]) -> Callable[[torch.Tensor], Any]:
        nodes = self._with_masks(start, group)

        def call(signal: torch.Tensor) -> Any:
            values = ChainMap({start: signal}, self.values)  # type: ignore[arg-type]
            for node in nodes:
                values[node] = self.graph.run(node, values)
            return values[group[-1]]

        return call

    def _with_masks(self, start: fx.Node, group: list[fx.Node]) -> list[fx.Node]:
        """Return a group with what its calls compute of its signals and cannot be differentiated, as x > 0 is."""
        inside, added = {start, *group}, list[fx.Node]()
        for node in self.graph.nodes[self.place[start] + 1 : self.place[group[-1]]]:
            read = [source for source in node.all_input_nodes if source in self.depending]
            if node in self.depending and node not in inside and read and inside.issuperset(read):
                inside.add(node)
                added.append(node)
        return sorted([*group, *added], key=self.place.__getitem__)


def replayed(path: Steps, signal: torch.Tensor) -> torch.Tensor:
    """Return what stages make of a signal."""
    for step in path:
        signal = step.call(signal) if isinstance(step, Stage) else torch.add(
            *(replayed(branch, signal.clone()) for branch in step.branches))
    return signal


def chain(module: nn.Module) -> Steps | None:
    """Return the stages of an `nn.Sequential` of torch's own modules, which need no tracing; None of any other."""
    if not is_chain(module) or not all(is_leaf(leaf) and not altered(leaf) for leaf in leaves(module)):
        return None
    names = {leaf: name for name, leaf in module.named_modules()}
    return tuple(Stage(names[leaf], "", leaf, "", (), leaf) for leaf in leaves(module))


def _differentiable(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return any(_differentiable(part) for part in value)
    return isinstance(value, torch.Tensor) and (value.is_floating_point() or value.is_complex())


def _is_signal(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point()
