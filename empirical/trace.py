"""A module traced: by torch.fx with torch's own modules as leaves, by torch.export where fx cannot."""

from __future__ import annotations

import importlib
import inspect
import logging
import operator
import re
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import fx, nn

from empirical import lines
from empirical.afresh import afresh
from empirical.calls import Batch, arguments
from empirical.functions import called, in_place
from empirical.graph import Graph, Untraceable
from empirical.sequential import altered, is_leaf
from empirical.unwrapped import is_script, passes_to


def traced(module: nn.Module, x: Batch) -> Graph:
    """Return the graph of a module that is called with x; raise `Untraceable` with the line that stops it.

    Parameters
    ----------
    module : torch.nn.Module
        Under `as_found`.
    x : tensor or mapping
        One sample, batch axis of one.
    """
    if is_script(module):
        raise Untraceable("TorchScript has no forward in Python: use the module that it was made from")
    own = module
    if isinstance(x, torch.Tensor) and is_leaf(module) and not altered(module):  # as it is read inside another
        own = nn.Sequential(module)
    args, named = arguments(module, x)
    with _ONE:
        try:
            return _by_fx(own, named)
        except Exception as symbolic:
            afresh(module)
            try:
                return _by_export(own, args, named)
            except Exception as exported:
                at = lines.of_error(exported)
                line, reason = (at, exported) if at else (lines.of_error(symbolic), symbolic)
                said = str(reason).strip() or type(reason).__name__
                raise Untraceable(f"{line or type(own).__name__}: {said.splitlines()[0]}") from None
        finally:  # no signal of this run, which has no values
            afresh(module)


_ONE = threading.Lock()  # what fx replaces while it traces, it puts back


class _Tracer(fx.Tracer):
    """While it traces, fx has every module of the process call it: those of other threads it lets through."""

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.get_ident()

    def call_module(self, module: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        if threading.get_ident() != self._thread:
            return forward(*args, **kwargs)
        if name := passes_to(module):  # whose own forward may scatter its input over devices
            return module.get_submodule(name)(*args, **kwargs)
        return super().call_module(module, forward, args, kwargs)

    def getattr(self, name: str, value: Any, parameters: Any) -> Any:
        return value if threading.get_ident() != self._thread else super().getattr(name, value, parameters)

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        node = super().create_node(*args, **kwargs)
        node.meta["where"] = lines.here()
        return node

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return is_leaf(module)


def _by_fx(module: nn.Module, named: Mapping[str, Any]) -> Graph:
    if "forward" in vars(module):
        raise Untraceable("its forward is not that of its class")
    first, *rest = inspect.signature(module.forward).parameters.values()
    defaults = {one.name: one.default for one in ([first, *rest] if named else rest)
                if one.name not in named and one.default is not one.empty}
    graph = _Tracer().trace(module, concrete_args=defaults or None)
    *nodes, last = graph.nodes
    for node in nodes:
        if node.op == "call_function" and not node.args and [*node.kwargs][:1] == ["input"]:  # torch's first
            node.args, node.kwargs = (node.kwargs["input"],), {
                name: value for name, value in node.kwargs.items() if name != "input"}
    given: dict[fx.Node, Any] = {node: defaults[_argument(node)] for node in nodes
                                 if node.op == "placeholder" and _argument(node) in defaults}
    for node in nodes:  # parameters, and what fx keeps as an attribute while it traces
        if node.op == "get_attr":
            given[node] = operator.attrgetter(str(node.target))(module)
    merged: dict[Any, fx.Node] = {}  # an entry of a mapping is one signal, however often it is read
    for node in nodes:
        if called(node) == "getitem" and node.args[0].op == "placeholder" and isinstance(node.args[1], str):
            same = merged.setdefault(node.args, node)
            if same is not node:
                node.replace_all_uses_with(same)
    return Graph(module, tuple(node for node in nodes if node.users or in_place(node, module)), last.args[0], given)


def _argument(node: fx.Node) -> str:
    return re.sub(r"_\d+$", "", str(node.target))  # fx renames what it makes concrete


def _by_export(module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> Graph:
    with _quietly():
        program = torch.export.export(module, args, named, strict=False)
    signature = program.graph_signature
    parameters = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    constants = signature.inputs_to_lifted_tensor_constants
    *nodes, last = (node for node in program.graph.nodes if not _plain_assertion(node))
    given: dict[fx.Node, Any] = {}
    for node in nodes:
        if node.name in parameters:
            given[node] = operator.attrgetter(parameters[node.name])(module)
        elif node.name in constants:
            given[node] = program.constants[constants[node.name]]
    results = torch.utils._pytree.tree_unflatten(list(last.args[0])[-program.call_spec.out_spec.num_leaves :],
                                                 program.call_spec.out_spec)
    return Graph(module, tuple(nodes), results, given)


def _plain_assertion(node: fx.Node) -> bool:
    """Whether a node only holds its input to the precision in which it was traced; another may be asked for here."""
    return "_assert_tensor_metadata" in str(node.target)


@contextmanager
def _quietly() -> Iterator[None]:
    """Export without fused attention, which has no parts, and without what torch says of failures on its own."""
    fast, log = torch.backends.mha.get_fastpath_enabled(), logging.getLogger("torch.fx.experimental.symbolic_shapes")
    torch.backends.mha.set_fastpath_enabled(False)
    was, log.disabled = log.disabled, True
    shown = vars(importlib.import_module("torch.export._trace"))
    shown["print"] = lambda *_, **__: None  # the graph of what it cannot trace
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        del shown["print"]
        torch.backends.mha.set_fastpath_enabled(fast)
        log.disabled = was
