"""Where in the user's own code something is called."""

from __future__ import annotations

import linecache
import re
import sys
import traceback
from pathlib import Path
from types import FrameType

import torch
from torch import fx

_TRACE = str(Path(__file__).with_name("trace.py"))
_HERE = str(Path(__file__).parent)
_OURS = tuple(str(Path(__file__).parents[1] / name) for name in ("rmt", "empirical", "figures"))
_OTHERS = (str(Path(torch.__file__).parent), "<", _TRACE)
_FRAME = re.compile(r'File "(.+)", line (\d+), in .*(?:\n\s*(.*\S))?')


def here() -> str:
    """Return the line of the module's own code that the tracer is called from, "" if there is none."""
    frame: FrameType | None = sys._getframe(2)  # behind the tracer, which asks
    while frame is not None and frame.f_code.co_name != "_by_fx":
        file, line = frame.f_code.co_filename, frame.f_lineno
        if not file.startswith(_OTHERS):
            return f"{file}:{line}: {linecache.getline(file, line).strip()}"
        frame = frame.f_back
    return ""


def outside() -> str:
    """Return the line of the user's own code that a call comes from, "" if there is none."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        file, line = frame.f_code.co_filename, frame.f_lineno
        if not file.startswith((*_OTHERS, _HERE)):
            return f"{file}:{line}: {linecache.getline(file, line).strip()}"
        frame = frame.f_back
    return ""


def named(node: fx.Node) -> str:
    """Return the name of a submodule, or of a call behind that of the submodule that it is in."""
    if node.op == "call_module":
        return str(node.target)
    scopes = [*(node.meta.get("nn_module_stack") or {}).values()]
    return f"{scopes[-1][0]}.{node.name}".removeprefix(".") if scopes else node.name


def of_node(node: fx.Node) -> str:
    """Return the file and line that calls a node, and what stands there; "" where that is not known."""
    if "where" in node.meta:
        return str(node.meta["where"])
    frames = [frame for frame in _FRAME.findall(node.meta.get("stack_trace") or "") if not frame[0].startswith(_OTHERS)]
    return f"{frames[-1][0]}:{frames[-1][1]}: {frames[-1][2]}" if frames else ""


def at(node: fx.Node) -> str:
    """Return the name of a node, and where it is called."""
    where = of_node(node)
    return f"{named(node)} ({where})" if where else named(node)


def of_error(error: BaseException) -> str:
    """Return the last line of the user's own code that an error came through; "" if there is none."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}: {(error.text or '').strip()}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(_OTHERS)]
    frames = [frame for frame in frames if not frame.filename.startswith(_OURS)] or frames
    return f"{frames[-1].filename}:{frames[-1].lineno}: {frames[-1].line}" if frames else ""
