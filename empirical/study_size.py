"""How large a study is: its file, and the rows that its lists cross to; nothing is loaded for it."""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_BYTES = 2**22  # of a study: more is another file
_ROWS = 10_000  # of a study: each is a picture on its page


def content(path: str | Path) -> dict[str, Any]:
    """Return what a TOML file says; a ValueError where it is none, an OSError where it is not read, or too large."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # a pipe without a writer is empty
    if Path(path).is_dir():
        os.close(handle)
        raise IsADirectoryError(21, "Is a directory")
    os.set_blocking(handle, True)
    with open(handle, "rb") as file:
        text = file.read(_BYTES + 1)
    if len(text) > _BYTES:
        raise OSError("a study has at most 4 MB")
    return tomllib.loads(text.decode())


def check_rows(tables: Sequence[Mapping[str, Any]]) -> None:
    """Refuse more rows than a page can have, before any is made."""
    total = 0
    for table in tables:
        lengths = {key: len(value) for key, value in table.items() if isinstance(value, list) and len(value) > 1}
        total += math.prod(lengths.values())
        if total > _ROWS:
            crossed = " x ".join(f"{key} {length}" for key, length in lengths.items()) or "further tables"
            raise ValueError(f"[[rows]] must be at most {_ROWS} rows, all lists crossed, got {total} with {crossed}")
