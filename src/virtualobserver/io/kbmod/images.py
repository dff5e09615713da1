"""From our images to WorkUnits and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from virtualobserver.conventions import FWHM_TO_SIGMA
from virtualobserver.data.image import Image
from virtualobserver.errors import DataError
from virtualobserver.io.kbmod.config import default_config
from virtualobserver.io.kbmod.workunit import WorkUnit
from virtualobserver.maths.shiftstack.images import gaussian_psf, psf_sigma
from virtualobserver.maths.times import Site
from virtualobserver.typing import Record, RecordDict, Value

__all__ = ["images_of", "workunit_of"]

_WCS_WORDS = tuple(
    "WCSAXES CRPIX CRVAL CDELT CUNIT CTYPE CROTA CD PC PV LONPOLE LATPOLE RADESYS EQUINOX A_ B_ AP_ BP_".split()  # noqa: SIM905
)


def workunit_of(
    images: Sequence[Image],
    mjd: ArrayLike,
    *,
    observer: Site,
    psf: Sequence[NDArray[np.floating]] | None = None,
    meta: Mapping[str, Sequence[Value]] | None = None,
    config: Record | None = None,
) -> WorkUnit:
    """Build a WorkUnit from images, in order of time, each with its own world coordinates.

    Parameters
    ----------
    mjd : array_like, shape (n,)
        Middle of each exposure, MJD (UTC).
    psf
        One kernel per image; by default Gaussians of the keyword FWHM (pixels).
    meta
        Columns with one value per image, in the order of `images`.
    config
        Search parameters; KBMOD's defaults for what is not given.

    Raises
    ------
    DataError
        If an image has no variance, no FWHM and no kernel, or another shape than the first.
    """
    times = np.asarray(mjd, dtype=np.float64)
    order = np.argsort(times, kind="stable")
    sizes = {image.data.shape for image in images}
    if len(sizes) != 1 or len(times) != len(images):
        msg = (
            f"a WorkUnit needs images of one size with a time each, not {len(times)} times and sizes {sizes}"
        )
        raise DataError(msg)
    if any(image.variance is None for image in images):
        msg = "a WorkUnit needs the variance of every image"
        raise DataError(msg)
    science, variance = (
        np.array([getattr(images[k], name) for k in order], dtype=np.float32) for name in ("data", "variance")
    )
    bad = ~np.isfinite(science) | ~np.isfinite(variance) | ~(variance > 0)
    for place, k in enumerate(order):
        mask = images[k].mask
        if mask is not None:
            bad[place] |= mask != 0
    science[bad] = np.nan
    variance[bad] = np.nan
    kernels = [_kernel(image) for image in images] if psf is None else list(psf)
    return WorkUnit(
        times[order],
        science,
        variance,
        bad.astype(np.uint8),
        tuple(np.asarray(kernels[k], dtype=np.float32) for k in order),
        observer,
        wcs=tuple(_cards(images[k]) for k in order),
        meta={name: [values[k] for k in order] for name, values in (meta or {}).items()},
        config=default_config() | dict(config or {}),
    )


def images_of(unit: WorkUnit, *, unit_of_flux: str = "electron") -> list[Image]:
    """Return the images of a WorkUnit with variance, mask, world coordinates, ``MJD-MID`` and ``FWHM``."""
    images = []
    for number, mjd in enumerate(unit.mjd):
        cards = unit.global_wcs if unit.wcs[number] is None else unit.wcs[number]
        header = {key: value for key, value in (cards or {}).items() if not key.startswith("NAXIS")}
        site = unit.observer
        header |= {"OBS_LAT": site.lat, "OBS_LON": site.lon, "OBS_ELEV": site.height}
        header |= {"MJD-MID": float(mjd), "FWHM": psf_sigma(unit.psf[number]) / FWHM_TO_SIGMA}
        images.append(
            Image(unit.science[number], unit.variance[number], unit.mask[number], header, unit_of_flux)
        )
    return images


def _kernel(image: Image) -> NDArray[np.float32]:
    width = image.header.get("FWHM")
    if not isinstance(width, int | float) or not width > 0:
        msg = "an image without the keyword FWHM (pixels) needs a kernel"
        raise DataError(msg)
    return gaussian_psf(float(width) * FWHM_TO_SIGMA)


def _cards(image: Image) -> RecordDict | None:
    """Return the cards of the world coordinates with the size of the array."""
    if "CTYPE1" not in image.header:
        return None
    cards = {
        key: value
        for key, value in image.header.items()
        if value is not None and any(key.startswith(word) for word in _WCS_WORDS)
    }
    ny, nx = image.data.shape
    return cards | {"NAXIS1": nx, "NAXIS2": ny}
