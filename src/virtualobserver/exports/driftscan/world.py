"""Headers of an exposure's chips with the fitted world coordinates, in a FITS file without pixels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from virtualobserver.exports.driftscan.exposures import Chip
from virtualobserver.io.atomic import replacing
from virtualobserver.typing import RecordDict

__all__ = ["header_of", "write_headers"]

_FITTED: Final = {
    "crpix1": "CRPIX1", "crpix2": "CRPIX2", "cd1_1": "CD1_1", "cd1_2": "CD1_2", "cd2_1": "CD2_1", "cd2_2": "CD2_2",
}  # fmt: skip
_FACTS: Final = {
    "time": "DRTIME", "trail_x": "DRTRAILX", "trail_y": "DRTRAILY", "offset_x": "DROFFX", "offset_y": "DROFFY",
    "n": "DRNSTARS", "rms": "DRRMS",
}  # fmt: skip
"""When the coordinates hold (s since the beginning), the trail (pixels), what was fitted to how many stars."""


def header_of(chip: Chip) -> RecordDict:
    """Return the world coordinates of a chip as keywords: the pipeline's plate, with what was fitted in its place."""
    world = chip.tables["wcs"]
    cards: RecordDict = {"EXTNAME": chip.ccd, "WCSAXES": 2, **world.meta.get("plate", {})}
    cards |= {key: float(world[name][0]) for name, key in _FITTED.items()}
    cards |= {key: world[name][0].item() for name, key in _FACTS.items()}
    return cards


def write_headers(path: Path, chips: Sequence[Chip]) -> None:
    """Write a primary header and one for each chip, by EXTNAME; the exposure's own files are not touched."""
    from astropy.io import fits as afits

    from virtualobserver.io.fits.headers import fits_header

    if not chips:
        return
    meta = chips[0].tables["wcs"].meta
    first = {"EXPNUM": meta["exposure"], "EXPTIME": meta["exptime"], "MJD-OBS": meta["mjd_start"]}
    units = [afits.PrimaryHDU(header=fits_header(first))]
    units += [afits.ImageHDU(header=fits_header(header_of(chip)), name=chip.ccd) for chip in chips]
    with replacing(path) as temporary:
        afits.HDUList(units).writeto(temporary, overwrite=True)
