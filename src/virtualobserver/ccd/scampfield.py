"""Which star is which by SCAMP (Bertin 2006, ASP Conf. Ser. 351, 112), if it is on the path and asked for."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from astropy.io import fits as afits

from virtualobserver.ccd.programs import SCAMP, own_file, scratch
from virtualobserver.ccd.settings import SolveSettings
from virtualobserver.ccd.solvefield import brightest, plate_of
from virtualobserver.conventions import ARCSEC_PER_DEGREE
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.astrometry.plate import PlateHint
from virtualobserver.maths.astrometry.tan_sip import TanSip
from virtualobserver.typing import RecordDict

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from virtualobserver.catalog.reference import ReferenceStars

__all__ = ["scamp_field"]

_STARS: Final = 5000
"""Brightest stars that are given: those of a circle of some frames."""
_SNR: Final = 50.0
"""Signal-to-noise ratio that each source is given, above SN_THRESHOLDS; only bright ones come here."""
_ERROR: Final = 0.1
"""Pixels that sources and stars are good to, in the weights of a first solution."""
_OWN: Final = {
    "DISTORT_DEGREES": "3", "CROSSID_RADIUS": "5.0", "POSANGLE_MAXERR": "180.0", "MATCH_FLIPPED": "Y",
    "SN_THRESHOLDS": "10.0,20.0",
}  # fmt: skip
"""An own configuration file stands in for it."""
_ALWAYS: Final = {
    "ASTREF_CATALOG": "FILE", "MATCH": "Y", "SOLVE_ASTROM": "Y", "SOLVE_PHOTOM": "N", "CHECKPLOT_TYPE": "NONE",
    "WRITE_XML": "N", "HEADER_TYPE": "NORMAL", "HEADER_SUFFIX": ".head", "MERGEDOUTCAT_TYPE": "NONE",
    "FULLOUTCAT_TYPE": "NONE", "NTHREADS": "1",
}  # fmt: skip
"""What makes the answer ours, whatever an own file says."""


def scamp_field(
    sources: tuple[ArrayLike, ArrayLike, ArrayLike],
    stars: ReferenceStars,
    hint: PlateHint,
    shape: tuple[int, int],
    *,
    own: SolveSettings,
    timeout: float,
) -> TanSip:
    """Find the world coordinates of a frame by ``scamp``, among the stars given; see `find_field`.

    It always answers, also where nothing matches: whether its answer stands the fit to all stars shows.

    Raises
    ------
    ProgramError
        If the program is missing, fails or takes too long.
    """
    SCAMP.find()
    config = own_file(own.config, "solve.config")
    with scratch() as folder:
        _write_ldac(folder / "field.ldac", _frame_header(hint, shape), _sources(sources))
        _write_ldac(folder / "stars.ldac", afits.Header(), _stars(stars))
        (folder / "scamp.conf").write_text(
            "".join(f"{key} {value}\n" for key, value in _OWN.items()), encoding="ascii"
        )
        options = _ALWAYS | {
            "ASTREFCAT_NAME": str(folder / "stars.ldac"), "POSITION_MAXERR": f"{hint.radius * 60:.3f}",
            "PIXSCALE_MAXERR": f"{1 / (1 - hint.scale_error):.4f}",
        }  # fmt: skip
        words = [word for key, value in options.items() for word in (f"-{key}", value)]
        said = SCAMP.run(
            [folder / "field.ldac", "-c", config or folder / "scamp.conf", *words],
            folder=folder if config is None else config.parent, timeout=timeout,
        )  # fmt: skip
        SCAMP.check_written(folder / "field.head", said)
        return plate_of(_head(folder / "field.head"), folder / "field.head", hint, shape)


# --- inside -----------------------------------------------------------------------------------------------


def _sources(sources: tuple[ArrayLike, ArrayLike, ArrayLike]) -> dict[str, tuple[str, str, Array]]:
    """Return format, unit and values of the columns of sources; the program counts pixels from 1."""
    x, y, flux = (np.asarray(values, np.float64) for values in sources)
    error, none = np.full(x.size, _ERROR), np.zeros(x.size)
    return {
        "XWIN_IMAGE": ("1D", "pixel", x + 1), "YWIN_IMAGE": ("1D", "pixel", y + 1),
        "ERRAWIN_IMAGE": ("1E", "pixel", error), "ERRBWIN_IMAGE": ("1E", "pixel", error),
        "ERRTHETAWIN_IMAGE": ("1E", "deg", none), "FLUX_AUTO": ("1E", "count", flux),
        "FLUXERR_AUTO": ("1E", "count", flux / _SNR), "FLAGS": ("1I", "", none.astype(np.int16)),
    }  # fmt: skip


def _stars(stars: ReferenceStars) -> dict[str, tuple[str, str, Array]]:
    """Return the same of stars, the brightest, in the order that the program wants."""
    those, mag = brightest(stars, _STARS)
    error, none = np.full(those.size, _ERROR / ARCSEC_PER_DEGREE), np.zeros(those.size)
    return {
        "X_WORLD": ("1D", "deg", np.asarray(stars.ra)[those]), "Y_WORLD": ("1D", "deg", np.asarray(stars.dec)[those]),
        "ERRA_WORLD": ("1E", "deg", error), "ERRB_WORLD": ("1E", "deg", error), "ERRTHETA_WORLD": ("1E", "deg", none),
        "MAG": ("1E", "mag", mag), "MAGERR": ("1E", "mag", none + 0.01),
        "OBSDATE": ("1D", "yr", np.full(those.size, float(stars.epoch))),
    }  # fmt: skip


def _frame_header(hint: PlateHint, shape: tuple[int, int]) -> afits.Header:
    """Return where the frame may lie, as its header would say it."""
    pixel = hint.scale / ARCSEC_PER_DEGREE
    said: RecordDict = {
        "SIMPLE": True, "BITPIX": -32, "NAXIS": 2, "NAXIS1": shape[1], "NAXIS2": shape[0], "CTYPE1": "RA---TAN",
        "CTYPE2": "DEC--TAN", "CRVAL1": hint.ra % 360, "CRVAL2": hint.dec, "CRPIX1": (shape[1] + 1) / 2,
        "CRPIX2": (shape[0] + 1) / 2, "CD1_1": -pixel, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": pixel, "EQUINOX": 2000.0,
        "RADESYS": "ICRS", "EXPTIME": 1.0,
    }  # fmt: skip
    return afits.Header(list(said.items()))


def _write_ldac(path: Path, header: afits.Header, columns: dict[str, tuple[str, str, Array]]) -> None:
    """Write a table as SExtractor does: the header of the frame as one row of cards, then the rows."""
    cards = np.frombuffer(header.tostring(sep="", endcard=True, padding=False).encode("ascii"), np.uint8)
    form = f"TFORM1  = '{cards.size}"
    said = afits.Column(
        "Field Header Card", f"{cards.size}B", dim=f"(80, {cards.size // 80})", array=cards.reshape(1, -1, 80)
    )
    rows = [
        afits.Column(name, form, unit=unit, array=values) for name, (form, unit, values) in columns.items()
    ]
    parts = [
        afits.BinTableHDU.from_columns([said], name="LDAC_IMHEAD"),
        afits.BinTableHDU.from_columns(rows, name="LDAC_OBJECTS"),
    ]
    content = io.BytesIO()
    afits.HDUList([afits.PrimaryHDU(), *parts]).writeto(content)
    # columns of text would lose the blanks at the ends of cards, and the program crashes on what is there instead
    path.write_bytes(content.getvalue().replace(f"{form}B".encode(), f"{form}A".encode(), 1))


def _head(path: Path) -> RecordDict:
    """Return the cards of a header in text."""
    lines = [line for line in path.read_text(encoding="latin-1").splitlines() if line[8:10] == "= "]
    return dict(afits.Header.fromstring("\n".join(lines), sep="\n"))
