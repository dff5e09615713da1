"""What can be wrong with an exposure of spectra as a whole; bits of its pixels are in `conventions`."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

__all__ = [
    "QUALITY_ASSUMED",
    "QUALITY_BAD",
    "QUALITY_CHECKSUM",
    "QUALITY_CONVERTED",
    "QUALITY_COSMICS",
    "QUALITY_COVERAGE",
    "QUALITY_DATASUM",
    "QUALITY_DEAD",
    "QUALITY_DUPLICATE",
    "QUALITY_FIBRE_B",
    "QUALITY_FOREIGN",
    "QUALITY_KEYWORD",
    "QUALITY_NAMES",
    "QUALITY_NOT_FINITE",
    "QUALITY_NOT_TARGET",
    "QUALITY_RESAMPLED",
    "QUALITY_SATURATED",
    "QUALITY_SHIFTED",
    "QUALITY_SPIKES",
    "QUALITY_UNREADABLE",
]

QUALITY_DEAD: Final = 1
QUALITY_NOT_FINITE: Final = 2
QUALITY_SPIKES: Final = 4
QUALITY_CHECKSUM: Final = 8
QUALITY_KEYWORD: Final = 16
QUALITY_DUPLICATE: Final = 32
QUALITY_COVERAGE: Final = 64
QUALITY_RESAMPLED: Final = 128
QUALITY_CONVERTED: Final = 256
QUALITY_DATASUM: Final = 512
QUALITY_FIBRE_B: Final = 1024
QUALITY_COSMICS: Final = 2048
QUALITY_UNREADABLE: Final = 4096
QUALITY_ASSUMED: Final = 8192
QUALITY_NOT_TARGET: Final = 16384
QUALITY_FOREIGN: Final = 32768
QUALITY_SATURATED: Final = 65536
QUALITY_SHIFTED: Final = 131072

QUALITY_NAMES: Final = MappingProxyType(
    {
        QUALITY_DEAD: "no signal",
        QUALITY_NOT_FINITE: "pixels that are no numbers",
        QUALITY_SPIKES: "pixels with absurd values",
        QUALITY_CHECKSUM: "checksum wrong",
        QUALITY_KEYWORD: "keyword missing or impossible",
        QUALITY_DUPLICATE: "the same exposure is there twice",
        QUALITY_COVERAGE: "window not covered",
        QUALITY_RESAMPLED: "interpolated onto the grid",
        QUALITY_CONVERTED: "medium, unit or frame converted",
        QUALITY_DATASUM: "DATASUM of an earlier frame",
        QUALITY_FIBRE_B: "calibration lamp in the other fibre",
        QUALITY_COSMICS: "cosmic rays masked",
        QUALITY_UNREADABLE: "file cannot be read",
        QUALITY_ASSUMED: "a fact that the file does not state was assumed",
        QUALITY_NOT_TARGET: "lamp, sky or moving object",
        QUALITY_FOREIGN: "of another star, by position, name or spectrum",
        QUALITY_SATURATED: "saturated",
        QUALITY_SHIFTED: "shifted by the motion of the Earth twice, or not at all",
    }
)
"""What each bit of an exposure's quality says."""

QUALITY_BAD: Final = (
    QUALITY_DEAD
    | QUALITY_CHECKSUM
    | QUALITY_DUPLICATE
    | QUALITY_UNREADABLE
    | QUALITY_NOT_TARGET
    | QUALITY_FOREIGN
    | QUALITY_SATURATED
    | QUALITY_SHIFTED
)
"""Exposures with any of these bits are masked as a whole; the other bits only tell."""
