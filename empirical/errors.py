"""What measuring raises where some networks could not be measured; it loads without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from empirical.measurement import Measurement
    from empirical.schedule import Failure


class IncompleteError(RuntimeError):
    """Some networks could not be measured.

    Attributes
    ----------
    failures : tuple of Failure
        The networks, and why.
    measurement : Measurement
        The others.
    """

    def __init__(self, failures: tuple[Failure, ...], measurement: Measurement, draws: int) -> None:
        self.failures, self.measurement = failures, measurement
        super().__init__(f"{draws - len(failures)} of {draws} networks were measured; {failures[0]}"
                         + (f"; and {len(failures) - 1} more" if len(failures) > 1 else ""))
