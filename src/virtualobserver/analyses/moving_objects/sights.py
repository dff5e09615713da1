"""What is known of each image before the search: measured once, one image in memory at a time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.analyses.moving_objects.settings import MovingObjectsSettings
from virtualobserver.conventions import MAD_TO_SIGMA, MASK_NO_DATA, SECONDS_PER_DAY
from virtualobserver.data.cards import with_cards
from virtualobserver.data.handles import Handle
from virtualobserver.data.image import Image
from virtualobserver.data.world import sky_of
from virtualobserver.errors import BadKeyword
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.images.background import Background, Mesh, background_mesh
from virtualobserver.maths.images.sources import SourceList, find_sources
from virtualobserver.maths.images.weights import photon_slope
from virtualobserver.typing import Record, RecordDict

if TYPE_CHECKING:
    from astropy.wcs import WCS

__all__ = [
    "STAR",
    "Sight",
    "header_of",
    "middle_mjd",
    "number_of",
    "sight_of",
    "stars_of",
]

_MIDDLE: Final = ("MJD-MID", "MJD_MID", "MJDMID", "MJD-AVG")
_MJD_UNIX: Final = 40587.0
"""1970-01-01."""
STAR: Final = 8.0
"""Standard deviations of what counts as a star. Chosen, not tuned."""
_MOST_STARS: Final = 200
"""Brightest stars matched; more take time and are fainter, hence less accurate."""


@dataclass(frozen=True, eq=False)
class Sight:
    """One image without its pixels.

    Parameters
    ----------
    header
        With world coordinates, if there are any.
    unit
        Of the pixels.
    shape
        Rows and columns.
    mjd
        Middle of the exposure, MJD (UTC).
    fwhm
        Full width at half maximum, pixels.
    level, noise
        Median and robust scatter of the good pixels.
    lost
        Share of the pixels that are masked or have no data.
    mesh
        The sky in boxes; None = it is flat.
    stars
        Positions of stars, brightest first, shape (n, 2); None = not looked for.
    photons
        By how much the variance grows with a pixel's own light, in boxes; None = it does not.
    quiet
        Median variance.
    """

    header: Record
    unit: str
    shape: tuple[int, int]
    mjd: float
    fwhm: float
    level: float
    noise: float
    lost: float
    mesh: Mesh | None = None
    stars: NDArray[np.float64] | None = None
    photons: Mesh | None = None
    quiet: float = 0.0

    @property
    def per_light(self) -> float:
        """Variance that a unit of light brings with it."""
        return 0.0 if self.photons is None else float(np.median(self.photons.level))

    @property
    def wcs(self) -> WCS:
        """World coordinates from the header, ICRS."""
        return sky_of(self.header)


def sight_of(
    image: Image,
    settings: MovingObjectsSettings,
    *,
    stars: bool,
    header: Record | None = None,
    difference: bool = False,
) -> Sight:
    """Measure an image; its sky in boxes only where it is no difference of two.

    Raises
    ------
    BadKeyword
        If it does not say when it was taken or how wide its stars are, and no setting does.
    """
    cards = image.header if header is None else header
    data = image.data.astype(np.float32)
    if image.mask is not None:
        data[image.mask != 0] = np.nan
    lost = 1.0 - float(np.isfinite(data).mean())
    some = lost < 1.0
    level = float(np.nanmedian(data)) if some else 0.0
    box = settings.background_box
    mesh = background_mesh(data, box=box) if some and box and not difference else None
    data -= np.float32(level)
    noise = MAD_TO_SIGMA * float(np.nanmedian(np.abs(data))) if some else 1.0
    ny, nx = image.data.shape
    fwhm, found, photons, quiet = _fwhm(cards, settings), None, None, 0.0
    if mesh is not None:
        data += np.float32(level) - mesh.at(slice(0, ny), slice(0, nx))
    if some and stars and not difference:
        found = _found(image, data, noise)
    if some and image.variance is not None:
        photons = photon_slope(data, image.variance, box=box or 64)
        quiet = float(np.nanmedian(np.where(np.isfinite(data), image.variance, np.nan)))
    return Sight(
        header=cards, unit=image.unit, shape=(ny, nx), mjd=middle_mjd(cards), fwhm=fwhm,
        level=level, noise=noise, lost=lost, mesh=mesh, stars=stars_of(image, found) if stars else None,
        photons=photons, quiet=quiet,
    )  # fmt: skip


def header_of(handle: Handle[Image], cards: Record | None) -> RecordDict:
    """Read the header of an image and put other world coordinates into it, if there are any."""
    return with_cards(handle.section(slice(0, 1), slice(0, 1)).header, cards)


def middle_mjd(header: Record) -> float:
    """Middle of the exposure, MJD (UTC), from ``MJD-MID`` or from the start and the exposure time.

    Raises
    ------
    BadKeyword
        If the header does not say.
    """
    for key in _MIDDLE:
        if header.get(key) is not None:
            return float(header[key])
    half = number_of(header, "EXPTIME") / 2 / SECONDS_PER_DAY
    if np.isfinite(half):
        if header.get("MJD-OBS") is not None:
            return float(header["MJD-OBS"]) + half
        if header.get("DATE-OBS"):
            text = str(header["DATE-OBS"]).strip().removesuffix("Z")
            try:
                start = datetime.fromisoformat(text).replace(tzinfo=UTC)
            except ValueError as error:
                msg = f"DATE-OBS {text!r} is not an ISO 8601 time"
                raise BadKeyword(msg) from error
            return _MJD_UNIX + start.timestamp() / SECONDS_PER_DAY + half
    msg = "an image needs MJD-MID, or MJD-OBS or DATE-OBS (start) with EXPTIME"
    raise BadKeyword(msg)


def number_of(header: Record, key: str) -> float:
    """Return a number from a header, NaN if there is none."""
    value = header.get(key)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else float("nan")


def stars_of(image: Image, found: SourceList | None = None) -> NDArray[np.float64]:
    """Return positions of stars, brightest first, shape (n, 2)."""
    if not np.isfinite(image.data).any():
        return np.zeros((0, 2))
    if found is None:
        found = find_sources(image.data, image.variance, mask=image.mask, threshold=STAR)
    found = found.take(np.flatnonzero(~found.truncated & (found.elongation < 2))[:_MOST_STARS])
    return np.stack([found.x, found.y], axis=1)


def _found(image: Image, data: NDArray[np.float32], noise: float) -> SourceList:
    """Find stars in an image without its sky."""
    flat = np.zeros(data.shape, np.float32)
    sky = Background(flat, np.full_like(flat, noise), 0.0, noise)
    return find_sources(np.nan_to_num(data), image.variance, mask=_bits(image, data), threshold=STAR, sky=sky)


def _bits(image: Image, data: NDArray[np.float32]) -> Array:
    bits = np.zeros(data.shape, np.uint16) if image.mask is None else np.array(image.mask, dtype=np.uint16)
    bits[~np.isfinite(data) & (bits == 0)] = MASK_NO_DATA
    return bits


def _fwhm(header: Record, settings: MovingObjectsSettings) -> float:
    width = settings.psf_fwhm if settings.psf_fwhm is not None else number_of(header, "FWHM")
    if not 0 < width < np.inf:
        msg = "an image needs the keyword FWHM (pixels), or the analysis the setting psf_fwhm"
        raise BadKeyword(msg)
    return width
