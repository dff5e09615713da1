"""What a method says about a star: events as rows of a block, and what speaks for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from virtualobserver.analyses.transients.cycle import Cycle

__all__ = ["Evidence", "Span", "Verdict"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What confirms an event: epochs of 2 sigma and more, and their nights, bands and series.

    ``p_value`` is the chance that a quiet star has an event like it; ``shape`` and ``width`` (d) are those of the
    best template; events of one habit of the star share a ``group``.
    """

    p_value: float
    confirmed: bool
    epochs: int
    nights: int
    bands: tuple[str, ...]
    series: int
    shape: str
    width: float
    group: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class Span:
    """One event.

    Its rows in the block in order of time, the strongest of them, its signed significance, and the quiet level and
    noise there, in the unit of the flux.
    """

    sign: int
    rows: NDArray[np.int64]
    peak: int
    sigma: float
    mean: float
    rms: float
    evidence: Evidence | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """What was found in a star.

    Events, its class, how it varies, the chance that a quiet star has a window like its best one, and the period of a
    variable; the class and what follows it are None where a method does not tell.
    """

    spans: tuple[Span, ...] = ()
    kind: Literal["quiet", "transient", "variable"] | None = None
    varies: str | None = None
    p_value: float | None = None
    cycle: Cycle | None = None
