"""Random expressions of laws, judged by rules that are not the package's: `make sweep` -> docs/sweep.md.

Expression i of a seed is always the same; `--only i` shows one with all that was found, `--law TEXT` any other. Each is
judged in a process of its own, which ends when it is over its time: seconds of the processor, for others may use the
machine too. "Raised" is a ValueError, ConvergenceError or OverflowError with words; any other exception, and any
warning, is wrong.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import judged
from benchmarks.expressions import Node, expression, parsed

EXTRA = 60.0  # seconds for what is not asked of the package
PATIENCE = 5.0  # times as long as the processor's seconds a process may take
ALLOWED = 0.005  # of the expressions may raise


@dataclass
class Result:
    """What came of one expression."""

    index: int
    kind: str
    text: str
    seconds: float = 0.0
    over: bool = False
    asked: str = ""  # last
    wrong: list[judged.Finding] = field(default_factory=list)
    raised: list[judged.Finding] = field(default_factory=list)
    unchecked: list[judged.Finding] = field(default_factory=list)


def judge(node: Node, index: int, limit: float, matrices: float, pipe: Connection) -> None:
    """Judge one expression and send what was found: after what is timed, and at the end."""
    report = judged.Report([], [], [], asking=pipe.send)
    _end_after(limit + 0.5)
    start, seconds = time.process_time(), 0.0
    try:
        law = judged.queries(node, report)
        seconds = time.process_time() - start
        _end_after(EXTRA)
        pipe.send((seconds, report.wrong, report.raised, report.unchecked))
        if law is not None:
            judged.independent(node, law, report)
            judged.simulated(node, law, matrices, index, report)
    except Exception as error:  # a fault of the sweep itself must be seen
        report.wrong.append(("sweep", f"{type(error).__name__}: {error}; {traceback.format_exc(limit=-2)}"))
    pipe.send((seconds, report.wrong, report.raised, report.unchecked))
    pipe.send(None)


def _end_after(seconds: float) -> None:
    """Let this process end, whatever it computes, when it has used so many more seconds of the processor."""
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, seconds)


def sweep(nodes: dict[int, Node], jobs: int, limit: float, matrices: float) -> Iterator[Result]:
    """Yield results as they come; a process that is over its time is killed."""
    context = multiprocessing.get_context("fork")
    waiting, running = list(reversed(nodes)), {}
    while waiting or running:
        while waiting and len(running) < jobs:
            index = waiting.pop()
            node = nodes[index]
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=judge, args=(node, index, limit, matrices, theirs), daemon=True)
            process.start()
            theirs.close()
            running[ours] = (process, Result(index, node.kind, node.text), time.perf_counter())
        wait(list(running), timeout=0.5)
        for pipe in list(running):
            process, result, start = running[pipe]
            done = _received(pipe, result)
            stuck = time.perf_counter() - start > PATIENCE * (limit + EXTRA)
            if not (done or stuck):
                continue
            if stuck:
                process.kill()
            process.join()
            pipe.close()
            del running[pipe]
            _judge_the_end(process.exitcode, result, limit)
            yield result


def _judge_the_end(exitcode: int | None, result: Result, limit: float) -> None:
    """Note how the process ended, if not by itself."""
    if exitcode and result.seconds:
        result.unchecked.append(("sweep", f"independent checks took over {EXTRA:g} s"))
    elif exitcode in (-signal.SIGPROF, -signal.SIGKILL):
        result.seconds = limit + 0.5
    elif exitcode:
        result.wrong.append(("process", f"the interpreter died: exit status {exitcode}"))
    result.over = result.seconds > limit


def _received(pipe: Connection, result: Result) -> bool:
    """Take in what was sent; return whether it is all."""
    try:
        while pipe.poll():
            message = pipe.recv()
            if message is None:
                return True
            if isinstance(message, str):
                result.asked = message
            else:
                result.seconds, result.wrong, result.raised, result.unchecked = message
    except EOFError:
        return True
    return False


# ---- what is shown -------------------------------------------------------------------------------------------


def page(results: list[Result], seed: int, limit: float) -> str:
    """Return the page."""
    seconds = np.array([result.seconds for result in results])
    kinds = Counter(result.kind for result in results)
    lines = [f"{len(results)} expressions of seed {seed}: {_count(results)}.",
             f"Seconds: median {np.median(seconds):.2f}, 95 % {np.quantile(seconds, 0.95):.2f}, "
             f"largest {seconds.max():.1f}.", "",
             "| kind | expressions | wrong | raised | over | median s | largest s |", "|---|---|---|---|---|---|---|"]
    for kind, count in sorted(kinds.items(), key=lambda item: -item[1]):
        own = [result for result in results if result.kind == kind]
        times = [result.seconds for result in own]
        lines.append(f"| {kind} | {count} | {sum(bool(r.wrong) for r in own)} | {sum(bool(r.raised) for r in own)} | "
                     f"{sum(r.over for r in own)} | {np.median(times):.2f} | {max(times):.1f} |")
    skipped = Counter(f"{check}: {words.split(' unsettled by ')[0]:.60}"
                      for r in results for check, words in r.unchecked[:1])
    lines += ["", *(f"Not made {count} times: {words}." for words, count in skipped.most_common(8))]
    for title, chosen in (("Wrong", [r for r in results if r.wrong]), ("Raised", [r for r in results if r.raised]),
                          (f"Over {limit:g} s", [r for r in results if r.over])):
        if chosen:
            lines += ["", f"## {title}", "", *(line for result in chosen for line in _told(result))]
    return "\n".join(lines) + "\n"


def _count(results: list[Result]) -> str:
    return (f"{sum(bool(r.wrong) for r in results)} wrong, {sum(bool(r.raised) for r in results)} raised, "
            f"{sum(r.over for r in results)} over time")


def _told(result: Result) -> Iterator[str]:
    """Yield the lines on one expression."""
    yield f"- {result.index} ({result.seconds:.2f} s): `{result.text}`"
    if result.over:
        yield f"  - over time in {result.asked}"
    for name in ("wrong", "raised", "unchecked"):
        for check, words in getattr(result, name)[:4]:
            yield f"  - {name}, {check}: {words}"


def main(arguments: list[str] | None = None) -> int:
    """Run the sweep; return 1 where anything is wrong or over time, or too many raise."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--start", type=int, default=0, help="the first index")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, nargs="+", help="these indices alone, told in full")
    parser.add_argument("--law", nargs="+", help="these texts alone, told in full")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--limit", type=float, default=12.0, help="seconds of an expression's answers")
    parser.add_argument("--matrices", type=float, default=0.15, help="fraction that is held against random matrices")
    parser.add_argument("--out", type=Path, help="write the page there")
    parser.add_argument("--json", type=Path, help="write what failed there")
    chosen = parser.parse_args(arguments)
    if chosen.law:
        nodes = dict(enumerate(map(parsed, chosen.law)))
    else:
        indices = chosen.only or range(chosen.start, chosen.start + chosen.count)
        nodes = {index: expression(chosen.seed, index) for index in indices}
    told = bool(chosen.law or chosen.only)
    results: list[Result] = []
    for result in sweep(nodes, chosen.jobs, chosen.limit, 1.0 if told else chosen.matrices):
        results.append(result)
        if result.wrong or result.raised or result.over or told:
            print("\n".join(_told(result)), file=sys.stderr, flush=True)
        if len(results) % 50 == 0:
            print(f"{len(results)}/{len(nodes)}: {_count(results)}", file=sys.stderr, flush=True)
    results.sort(key=lambda result: result.index)
    text = page(results, chosen.seed, chosen.limit)
    print(text)
    if chosen.out:
        chosen.out.write_text(f"# Sweep of random expressions\n\nMade by `make sweep`.\n\n{text}")
    if chosen.json:
        failed: list[dict[str, Any]] = [asdict(r) for r in results if r.wrong or r.raised or r.over]
        chosen.json.write_text(json.dumps(failed, indent=1))
    return int(any(r.wrong or r.over for r in results)
               or sum(bool(r.raised) for r in results) > ALLOWED * len(results))


if __name__ == "__main__":
    sys.exit(main())
