"""Simulated exposures as raw data: files in memory, read like those of a folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from virtualobserver.data.plain import plain
from virtualobserver.data.product import Raw, RawRef, Target
from virtualobserver.io.fits.structure import MemoryFile
from virtualobserver.observatories.decam.folder import exposures_of, raws_of
from virtualobserver.observatories.decam.settings import DECamSettings
from virtualobserver.observatories.decam.simulate import exposure_files, simulate
from virtualobserver.typing import RecordDict

if TYPE_CHECKING:
    import numpy as np

__all__ = ["files_of", "simulated_raws"]


def simulated_raws(target: Target, rng: np.random.Generator, settings: DECamSettings) -> Iterator[Raw]:
    """Yield the planes of all chips of simulated nights.

    In the header of an image ``truth`` says what is in it, and ``injected`` what a search should find.
    """
    for exposure in simulate(target, rng, settings.simulation):
        files = [
            (MemoryFile(content, f"{exposure.night}/{name}"), f"{exposure.night}/{name}")
            for name, content in exposure_files(exposure).values()
        ]
        told = {
            ccd.name: {"truth": _told(ccd.truth), "injected": plain(exposure.injected(ccd))}
            for ccd in exposure.ccds
        }
        for found in exposures_of(files, settings):
            for raw in raws_of(found, settings):
                if raw.header["plane"] == "image":
                    yield replace(raw, header={**raw.header, **told[raw.key]})
                else:
                    yield raw


def files_of(_: Target, raws: Sequence[RawRef]) -> Mapping[str, bytes]:
    """Return a folder archive of simulated raw data."""
    return {raw.archive_id: raw.read() for raw in raws}


# --- inside -----------------------------------------------------------------------------------------------


def _told(truth: RecordDict) -> RecordDict:
    names = ("offset", "velocity", "events", "flashes", "lines")
    moved = [name for name in ("movers", "glints") if truth.get(name)]
    found: RecordDict = plain({name: truth[name] for name in (*names, *moved) if name in truth})
    return found
