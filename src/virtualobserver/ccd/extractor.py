"""Sources of a frame by SExtractor (Bertin & Arnouts 1996, A&AS 117, 393), if it is on the path and asked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
from astropy.io import fits as afits

from virtualobserver.ccd.programs import SOURCE_EXTRACTOR, own_file, scratch
from virtualobserver.ccd.settings import DetectSettings
from virtualobserver.conventions import FWHM_TO_SIGMA, MASK_SATURATED
from virtualobserver.data.image import Image
from virtualobserver.data.table import Table
from virtualobserver.io.fits.files import read_table
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.images.sources import LEAST_VARIANCE, SourceList, find_sources

__all__ = ["extract", "frame_sources"]

_COLUMNS: Final = (
    "X_IMAGE", "Y_IMAGE", "XWIN_IMAGE", "YWIN_IMAGE", "ERRX2WIN_IMAGE", "ERRY2WIN_IMAGE", "FLUX_ISO", "FLUXERR_ISO",
    "A_IMAGE", "B_IMAGE", "THETA_IMAGE", "FLAGS", "IMAFLAGS_ISO", "XMIN_IMAGE", "YMIN_IMAGE", "XMAX_IMAGE",
    "YMAX_IMAGE",
)  # fmt: skip
_OWN: Final = {
    "DETECT_MINAREA": "5", "FILTER": "Y", "DEBLEND_NTHRESH": "32", "DEBLEND_MINCONT": "0.005", "CLEAN": "Y",
    "CLEAN_PARAM": "1.0", "BACK_TYPE": "AUTO", "BACK_SIZE": "64", "BACK_FILTERSIZE": "3", "THRESH_TYPE": "RELATIVE",
}  # fmt: skip
"""What the built-in detection does too; an own configuration file stands in for it."""
_ALWAYS: Final = {
    "CATALOG_TYPE": "FITS_1.0", "WEIGHT_TYPE": "MAP_RMS", "WEIGHT_GAIN": "N", "FLAG_TYPE": "OR",
    "DETECT_TYPE": "CCD", "INTERP_TYPE": "NONE", "CHECKIMAGE_TYPE": "NONE", "VERBOSE_TYPE": "QUIET", "WRITE_XML": "N",
    # the map of noise knows of the light of the sources already, and the frame is in electrons
    "GAIN": "0", "GAIN_KEY": "NOGAIN", "SATUR_KEY": "NOSATUR", "SATUR_LEVEL": "1e9", "MAG_ZEROPOINT": "0",
    "MEMORY_OBJSTACK": "65536",
}  # fmt: skip
"""What makes the table ours, whatever an own file says."""
_ROOM: Final = 1_000_000
"""Least room for pixels above the threshold that the program is given; that of the image where it has more."""
_BAD_NOISE, _BAD_LIMIT = 1e15, 1e10
"""Noise of pixels that are not to be used, and from which it is not looked at: far above that of any detector."""
_FEWEST_SIGMA, _LEAST_AXIS, _LOST = 2, 0.3, 3.0
"""Reach of the filter (standard deviations), least axis and largest step of a windowed centre (pixels): as built in."""
_SPLIT, _CUT = 2, 8
"""Bits of FLAGS: split from another, cut by the edge of the frame."""


def frame_sources(image: Image, own: DetectSettings, *, threshold: float, width: float) -> SourceList:
    """Find the sources of a calibrated frame by what the settings name.

    Parameters
    ----------
    threshold
        Of a filtered pixel, standard deviations.
    width
        Of the stars, FWHM in pixels.

    Raises
    ------
    DataError
        If there are more sources than can be.
    ProgramError
        If the program is missing, fails or takes too long.
    """
    if own.program == "builtin":
        return find_sources(image.data, image.variance, mask=image.mask, threshold=threshold, fwhm=width)
    return extract(image, own, threshold=threshold, width=width)


def extract(image: Image, own: DetectSettings, *, threshold: float, width: float) -> SourceList:
    """Find sources by SExtractor, see `frame_sources`; masked pixels are left out, saturated ones kept, as built in."""
    config = own_file(own.config, "detect.config")
    with scratch() as folder:
        _write_planes(folder, image)
        (folder / "columns").write_text("\n".join(_COLUMNS) + "\n", encoding="ascii")
        kernel = _filter(width)
        rows = (" ".join(f"{value:.6f}" for value in row) for row in kernel)
        (folder / "filter").write_text("CONV NORM\n" + "\n".join(rows) + "\n", encoding="ascii")
        lines = _OWN | {"FILTER_NAME": str(folder / "filter")}
        # the program counts the noise of unfiltered pixels, which is larger
        least = f"{threshold * np.sqrt((kernel**2).sum()) / kernel.sum():.6g}"
        lines |= {"DETECT_THRESH": least, "ANALYSIS_THRESH": least}
        (folder / "config").write_text(_lines(lines), encoding="utf-8")
        options = _ALWAYS | {
            "CATALOG_NAME": str(folder / "found"), "PARAMETERS_NAME": str(folder / "columns"),
            "WEIGHT_IMAGE": str(folder / "noise.fits"), "WEIGHT_THRESH": f"{_BAD_LIMIT:g}",
            "FLAG_IMAGE": str(folder / "mask.fits"),
            "MEMORY_PIXSTACK": str(max(_ROOM, image.data.size)),
        }  # fmt: skip
        words = [word for key, value in options.items() for word in (f"-{key}", value)]
        said = SOURCE_EXTRACTOR.run(
            [folder / "frame.fits", "-c", config or folder / "config", *words],
            folder=folder if config is None else config.parent, timeout=own.timeout,
        )  # fmt: skip
        SOURCE_EXTRACTOR.check_written(folder / "found", said)
        return _source_list(read_table(folder / "found"), image.data.shape)


# --- inside -----------------------------------------------------------------------------------------------


def _write_planes(folder: Path, image: Image) -> None:
    """Write frame, noise and mask without a header: gain and saturation there would be of the raw frame."""
    data = np.array(image.data, dtype=np.float32)
    bad = ~np.isfinite(data)
    data[bad] = 0.0
    bits = np.zeros(data.shape, np.int32) if image.mask is None else np.asarray(image.mask).astype(np.int32)
    bad |= (bits & ~np.int32(MASK_SATURATED)) != 0
    assert image.variance is not None
    noise = np.sqrt(np.maximum(image.variance, LEAST_VARIANCE, dtype=np.float32))
    noise[bad | ~np.isfinite(noise)] = _BAD_NOISE
    for name, plane in (("frame", data), ("noise", noise), ("mask", bits)):
        afits.PrimaryHDU(plane).writeto(folder / f"{name}.fits")


def _filter(width: float) -> Array:
    """Return the Gaussian filter of the built-in detection."""
    sigma = width * FWHM_TO_SIGMA
    half = max(int(np.ceil(_FEWEST_SIGMA * sigma)), 1)
    line = np.exp(-0.5 * (np.arange(-half, half + 1) / sigma) ** 2)
    return np.outer(line, line)


def _lines(options: Mapping[str, str]) -> str:
    return "".join(f"{key} {value}\n" for key, value in options.items())


def _source_list(table: Table, shape: tuple[int, ...]) -> SourceList:
    """Return the program's columns as those of the built-in detection; it counts pixels from 1."""
    column: dict[str, Array] = {name: np.asarray(table[name]) for name in _COLUMNS}
    a, b = (np.maximum(column[name].astype(float), _LEAST_AXIS) for name in ("A_IMAGE", "B_IMAGE"))
    x, y, x0, y0 = (
        column[name].astype(float) - 1 for name in ("XWIN_IMAGE", "YWIN_IMAGE", "X_IMAGE", "Y_IMAGE")
    )
    lost = ~(np.hypot(x - x0, y - y0) < _LOST)
    flux, error = column["FLUX_ISO"].astype(float), column["FLUXERR_ISO"].astype(float)
    edge = (column["XMIN_IMAGE"] <= 1) | (column["YMIN_IMAGE"] <= 1)
    edge |= (column["XMAX_IMAGE"] >= shape[1]) | (column["YMAX_IMAGE"] >= shape[0])
    columns = (
        np.where(lost, x0, x), np.where(lost, y0, y), flux, error, flux / np.maximum(error, 1e-30),
        np.sqrt(0.5 * (a**2 + b**2)) / FWHM_TO_SIGMA, a / b, column["IMAFLAGS_ISO"].astype(np.int64),
        (column["FLAGS"] & (_SPLIT | _CUT)) != 0, edge,
        *(np.sqrt(column[name].astype(float)) for name in ("ERRX2WIN_IMAGE", "ERRY2WIN_IMAGE")),
        a, b, column["THETA_IMAGE"].astype(float),
    )  # fmt: skip
    order = np.argsort(-flux, kind="stable")
    return SourceList(*(np.asarray(values)[order] for values in columns))
