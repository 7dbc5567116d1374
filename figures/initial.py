"""ResNet-110 at initialization, which several figures of Bjorck et al. look at: one pass forward and backward."""

from __future__ import annotations

from empirical.backward import Backward
from empirical.kept import Arrays
from figures.setting import Setting

DEPTH, SIZE, BATCH = 110, 32, 128
SAMPLED = (18, 54, 90)  # layers of table 1


def passes(setting: Setting) -> dict[bool, Arrays]:
    """Return the pass of the network with (True) and without BN."""
    jobs = [Backward(DEPTH, norm, setting.seed, BATCH, setting.images(SIZE), SAMPLED, setting.device)
            for norm in ("every", "none")]
    return dict(zip((True, False), setting.answers(jobs, "ResNet-110, forward and backward"), strict=True))


def about(setting: Setting) -> str:
    """Say what was measured, for a title."""
    return (f"ResNet-{DEPTH} at initialization (Xavier), {setting.inputs_text(SIZE)}, batch {BATCH}, "
            f"1 network each, seed {setting.seed}")
