"""Networks per second on a GPU, the share of the matrix-multiply limit, and where the time goes.

`make bench-gpu` writes docs/benchmarks-gpu.md; without a CUDA device it says so and writes nothing.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from empirical.batched import _chained, _ended_one, run_together
from empirical.inputs import gaussian
from empirical.task import Task
from rmt import mlp

PAGE = Path("docs/benchmarks-gpu.md")
WIDTH, DEPTH, NETWORKS, LIMIT, GOAL = 500, 20, 1000, 20.0, 6.0
AT_ONCE = 50


def seconds(work: Callable[[], object]) -> float:
    """Wall-clock time of one run, the device's queue emptied before and behind it."""
    torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def row(name: str, device: str) -> str:
    """Measure one kind of network."""
    network = mlp([WIDTH] * (DEPTH + 1), *{"linear": ("linear", "gaussian"), "ReLU": ("relu", "kaiming_normal"),
                                           "tanh": ("tanh", "gaussian(sigma_w=1.2)")}[name])
    tasks = [Task(network, name, gaussian(), 1, 0, i, device, "float64") for i in range(NETWORKS)]
    part = tasks[:AT_ONCE]
    modules, inputs = zip(*(task.drawn()[:2] for task in part), strict=True)
    x = torch.stack(inputs)
    _chained(modules, x)  # kernels are loaded
    weights = [torch.stack([m[i].weight for m in modules]) for i, m in enumerate(modules[0])
               if isinstance(m, torch.nn.Linear)]

    def products() -> torch.Tensor:
        carried = weights[0]
        for weight in weights[1:]:
            carried = weight @ carried
        return carried

    scales, rows, good, _ = _chained(modules, x)
    draw = seconds(lambda: [task.drawn() for task in part])
    multiply, chain = seconds(products), seconds(lambda: _chained(modules, x))
    end = seconds(lambda: [_ended_one(scales[i, 0], rows[i, 0]) for i in range(AT_ONCE)])
    whole = seconds(lambda: list(run_together(tasks)))
    rate = 2 * WIDTH**3 * (DEPTH - 1) * AT_ONCE / multiply / 1e12
    each = " | ".join(f"{1e3 * time / AT_ONCE:.1f}" for time in (draw, chain, end))
    return (f"| {name} | {whole:.1f} | {NETWORKS / whole:.0f} | {multiply / chain:.2f} | {rate:.1f} | "
            f"{good.mean():.2f} | {each} |")


def main() -> int:
    """Write the page, and print it."""
    if not torch.cuda.is_available():
        print("make bench-gpu: no CUDA device here; docs/benchmarks-gpu.md is left as it was", file=sys.stderr)
        return 3
    text = f"""# Speed on a GPU

Made by `make bench-gpu` on one {torch.cuda.get_device_name()}: {NETWORKS} networks, N = {WIDTH}, L = {DEPTH}, accurate,
weights drawn on the CPU. Limit {LIMIT:.0f} s, goal {GOAL:.0f} s. "Share" is the time of the layers' bare products in
float64 over that of the chain on the device (the products' TFLOP/s beside it), "held" the share of networks that
CholeskyQR2 was good enough for. Then milliseconds a network: drawing it (one core), the chain on the device, ending it
on the host (one core).

| networks | s | networks/s | share | TFLOP/s | held | draw | chain | end |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
""" + "\n".join(row(name, "cuda") for name in ("linear", "ReLU", "tanh")) + "\n"
    PAGE.write_text(text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
