"""The chips of an exposure, put together from what a survey of trails made of each."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Final

from virtualobserver.data.handles import Handle, of_kind
from virtualobserver.data.table import Table
from virtualobserver.data.timeseries import TimeSeries
from virtualobserver.export import View

__all__ = ["Chip", "Exposure", "exposures_of"]

TARGETS: Final = "trail"
"""Role of the light curves of targets."""
_ROLES: Final = ("wcs", "samples", "forced", "detrended")


@dataclass(frozen=True, eq=False)
class Chip:
    """What was made of one chip of an exposure.

    Parameters
    ----------
    ccd
        Its name.
    tables
        By role: ``wcs samples forced detrended``.
    targets
        Number of a star to the name of the target that it is.
    """

    ccd: str
    tables: dict[str, Table]
    targets: dict[int, str]


@dataclass
class Exposure:
    """One exposure: products of its chips, not loaded yet."""

    night: str
    number: str
    handles: dict[str, dict[str, Handle]] = field(default_factory=lambda: defaultdict(dict))
    targets: dict[str, dict[int, str]] = field(default_factory=lambda: defaultdict(dict))

    def load(self) -> list[Chip]:
        """Return its chips that have trails, by name."""
        return [
            Chip(
                ccd,
                {one.info.role: one.load() for one in of_kind(list(found.values()), Table)},
                self.targets[ccd],
            )
            for ccd, found in sorted(self.handles.items())
            if {"wcs", "samples", "forced"} <= found.keys()
        ]


def exposures_of(view: View) -> list[Exposure]:
    """Return the exposures of all surveys of trails, in order of night and number."""
    found: dict[tuple[str, str], Exposure] = {}
    makers = [one for one in view.makers if one.kind == "survey" and ("table", "samples") in one.makes]
    for group in (group for maker in makers for group in view.groups(maker)):
        for handle in group.products:
            ccd, night, number = _parts(handle)
            if number and handle.info.role in _ROLES:
                exposure = found.setdefault((night, number), Exposure(night, number))
                exposure.handles[ccd][handle.info.role] = handle
    for name in _targets(view):
        for curve in of_kind(view.products(name), TimeSeries):
            ccd, night, number = _parts(curve)
            if curve.info.role == TARGETS and (night, number) in found:
                found[night, number].targets[ccd][int(curve.load().meta["star_id"])] = name
    return [found[key] for key in sorted(found)]


# --- inside -----------------------------------------------------------------------------------------------


def _parts(handle: Handle) -> tuple[str, str, str]:
    """Return chip, night and number of the exposure, empty for a product of another unit."""
    parts = handle.info.unit.split("/")
    return (parts[0], parts[1], parts[2]) if len(parts) == 3 else ("", "", "")


def _targets(view: View) -> list[str]:
    curves = view.table("lightcurves")
    return sorted({str(name) for name in curves.loc[curves["role"] == TARGETS, "source"]})
