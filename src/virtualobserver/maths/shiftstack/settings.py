"""Settings of shift and stack: one class, which the analysis shows to people and the search reads."""

from __future__ import annotations

from typing import Literal

from virtualobserver.config.settings import NonNegativeRange, Settings, setting

__all__ = ["StackSettings"]


class StackSettings(Settings):
    """Shift and stack: how a night is searched, for people and for the search alike."""

    rate: NonNegativeRange = setting(
        (5.0, 60.0), doc="Slowest and fastest motion searched, any direction", unit="arcsec/h", step="analyse"
    )
    drift: float = setting(
        2.0,
        doc="Neighbouring velocities part by so much over the night",
        unit="pix",
        step="analyse",
        gt=0,
    )
    level: float | None = setting(
        None,
        doc="Least likelihood (signal-to-noise ratio of the whole path); unset = from the number of trials",
        step="analyse",
        ge=0,
    )
    false_alarms: float = setting(
        0.05, doc="False alarms of pure noise to expect per night, where level is unset", step="analyse", gt=0
    )
    min_epochs: int = setting(5, doc="Least number of epochs of a mover", step="analyse", ge=2)
    top: int = setting(4, doc="Velocities kept for each start pixel", step="analyse", ge=1)
    masked: Literal["ml", "kbmod"] = setting(
        "ml",
        doc="Masked pixels within the profile: exact maximum likelihood, or scaled up as KBMOD does",
        step="analyse",
    )
    binning: Literal["auto", 1, 2] = setting(
        "auto", doc="Search pixels of 2 x 2 where the profile is wider than 4 px", step="analyse"
    )
    two_level_from: int = setting(
        60,
        doc="From so many frames on, blocks of them are summed at coarse velocities first",
        step="analyse",
        ge=2,
    )
    block: float = setting(24.0, doc="Length of such a block", unit="min", step="analyse", gt=0)
    clip: bool = setting(
        True, doc="Leave out epochs that do not agree with the others (sigma-G)", step="analyse"
    )
    controls: bool = setting(
        True,
        doc="Search the frames with inverted sign and at each other's times as well: all found there is false",
        step="analyse",
    )
    seed: int = setting(0, doc="Seed of the shuffled control", step="analyse", ge=0)
    precision: Literal["single", "double"] = setting("single", doc="Of the sums", step="analyse")
    threads: int = setting(1, doc="Threads: cores / workers", run_only=True, ge=1)
