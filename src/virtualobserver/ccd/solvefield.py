"""Which star is which by astrometry.net (Lang et al. 2010, AJ 139, 1782), if it is on the path and asked for."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from astropy.io import fits as afits

from virtualobserver.ccd.programs import BUILD_INDEX, SOLVE_FIELD, own_file, scratch
from virtualobserver.ccd.settings import SolveSettings
from virtualobserver.errors import NoMatch, ProgramError
from virtualobserver.io.fits.files import read_header
from virtualobserver.io.fits.keywords import read_wcs
from virtualobserver.maths.astrometry.plate import PlateHint
from virtualobserver.maths.astrometry.tan_sip import TanSip, fit_tan_sip
from virtualobserver.typing import Record

if TYPE_CHECKING:
    from astropy.wcs import WCS
    from numpy.typing import ArrayLike, NDArray

    from virtualobserver.catalog.reference import ReferenceStars

__all__ = ["brightest", "find_field", "plate_of", "plate_of_wcs"]

_STARS: Final = 3000
"""Brightest stars of an index: those of a circle of some frames, and an index of a second."""
_SOURCES: Final = 100
"""Brightest sources that are looked up; what the program's own manual recommends."""
_SIZE: Final = 24.0
"""arcmin of a frame that the scale of quadruples number 4 suits; each further number is larger by the root of 2."""
_SCALES: Final = (-3, -1, 1)
"""Numbers of scales of which indices are built, from that of the frame on: quadruples that fit into a part of it."""
_LEAST: Final = 4
"""Stars of a quadruple."""
_HIGHEST: Final = 19
"""The largest of these numbers."""
_PASSES: Final = "10"
"""Quadruples about each place of the sky: more than the 4 or 5 that suffice where the frame has all stars."""
_GRID: Final = 12
"""Points along each side at which world coordinates are taken over."""


def find_field(
    sources: tuple[ArrayLike, ArrayLike, ArrayLike],
    stars: ReferenceStars,
    hint: PlateHint,
    shape: tuple[int, int],
    *,
    own: SolveSettings,
    timeout: float,
) -> TanSip:
    """Find the world coordinates of a frame by ``solve-field``, with an index of the stars given.

    Parameters
    ----------
    sources
        x, y (pixels from 0) and flux.
    stars
        About the place of the hint; unused where an own configuration file names index files.
    timeout
        Seconds that each program may take.

    Raises
    ------
    ProgramError
        If a program is missing, fails or takes too long.
    NoMatch
        If it finds nothing.
    """
    SOLVE_FIELD.find()
    config = own_file(own.config, "solve.config")
    with scratch() as folder:
        if config is None:
            config = _build_indices(folder, stars, hint, shape, timeout)
        x, y, flux = (np.asarray(values, np.float64) for values in sources)
        order = np.argsort(-flux, kind="stable")[:_SOURCES]
        named = ("X", x + 1), ("Y", y + 1), ("FLUX", flux)
        columns = [afits.Column(name, "D", array=values[order]) for name, values in named]
        afits.BinTableHDU.from_columns(columns).writeto(folder / "field.xyls")
        low, high = (hint.scale * (1 + sign * hint.scale_error) for sign in (-1, 1))
        said = SOLVE_FIELD.run(
            [folder / "field.xyls", "--backend-config", config, "--width", str(shape[1]), "--height", str(shape[0]),
             "--x-column", "X", "--y-column", "Y", "--sort-column", "FLUX", "--scale-units", "arcsecperpix",
             "--scale-low", f"{low:.6f}", "--scale-high", f"{high:.6f}", "--ra", f"{hint.ra % 360:.6f}",
             f"--dec={hint.dec:.6f}", "--radius", f"{hint.radius:.4f}", "--no-plots", "--no-remove-lines",
             "--uniformize", "0", "--tweak-order", str(max(min(own.order, 3), 1)),
             "--cpulimit", f"{math.ceil(timeout)}", "--new-fits", "none", "--wcs", folder / "field.wcs",
             "--temp-dir", folder],
            folder=folder, timeout=timeout,
        )  # fmt: skip
        if not (folder / "field.wcs").is_file():
            if "Did not solve" not in said:
                SOLVE_FIELD.check_written(folder / "field.wcs", said)
            where = f"within {hint.radius:g} deg of {hint.ra:.4f} {hint.dec:+.4f}"
            msg = f"no plate solution: solve-field found none {where}"
            raise NoMatch(msg)
        return plate_of(read_header(folder / "field.wcs"), folder / "field.wcs", hint, shape)


def plate_of(header: Record, path: Path, hint: PlateHint, shape: tuple[int, int]) -> TanSip:
    """Return the world coordinates of a header that a program wrote.

    Raises
    ------
    ProgramError
        If they are no numbers.
    """
    plate = plate_of_wcs(read_wcs(header, path), (hint.ra, hint.dec), shape)
    if plate is None:
        msg = f"{path.name} holds world coordinates that are no numbers"
        raise ProgramError(msg)
    return plate


def plate_of_wcs(wcs: WCS, near: tuple[float, float], shape: tuple[int, int]) -> TanSip | None:
    """Return world coordinates as ours about a place (degrees), None if they are no numbers everywhere on the frame."""
    x, y = (
        axis.ravel()
        for axis in np.meshgrid(np.linspace(0, shape[1] - 1, _GRID), np.linspace(0, shape[0] - 1, _GRID))
    )
    ra, dec = wcs.all_pix2world(x, y, 0)
    if not np.isfinite(ra + dec).all():
        return None
    return fit_tan_sip(x, y, ra, dec, shape=shape, order=3, near=near)


def brightest(stars: ReferenceStars, most: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the rows of the brightest stars and their magnitudes; those without one come last, as 99."""
    mag = np.where(np.isfinite(stars.mag), stars.mag, 99.0)
    rows = np.argsort(mag, kind="stable")[:most]
    return rows, mag[rows]


# --- inside -----------------------------------------------------------------------------------------------


def _build_indices(
    folder: Path, stars: ReferenceStars, hint: PlateHint, shape: tuple[int, int], timeout: float
) -> Path:
    """Build indices of the stars in a folder, and return the configuration that names them."""
    if len(stars.ra) < _LEAST:
        msg = f"no plate solution: {len(stars.ra)} stars of the catalogue, no index can be built"
        raise NoMatch(msg)
    those, mag = brightest(stars, _STARS)
    columns = [
        afits.Column(name, "D", array=np.asarray(values, np.float64))
        for name, values in (("ra", stars.ra[those]), ("dec", stars.dec[those]), ("mag", mag))
    ]
    afits.BinTableHDU.from_columns(columns).writeto(folder / "stars.fits")
    side = math.sqrt(shape[0] * shape[1]) * hint.scale / 60
    middle = 4 + 2 * math.log2(side / _SIZE)
    numbers = sorted({min(max(round(middle + step), 0), _HIGHEST) for step in _SCALES})
    for number in numbers:
        said = BUILD_INDEX.run(
            ["-i", folder / "stars.fits", "-o", folder / f"index-{number}.fits", "-A", "ra", "-D", "dec", "-S", "mag",
             "-P", str(number), "-p", _PASSES, "-E", "-I", str(number + 1), "-t", folder],
            folder=folder, timeout=timeout,
        )  # fmt: skip
        BUILD_INDEX.check_written(folder / f"index-{number}.fits", said)
    lines = [f"add_path {folder}", "inparallel", *(f"index index-{number}.fits" for number in numbers)]
    (folder / "engine.cfg").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "engine.cfg"
