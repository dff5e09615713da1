"""Catalogue stars in a frame: where they are, which source is which, and their light in apertures."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from virtualobserver.ccd.settings import PhotometrySettings
from virtualobserver.ccd.solve import epoch_of, scale_of
from virtualobserver.conventions import ARCSEC_PER_DEGREE, NO_STAR
from virtualobserver.data.image import Image
from virtualobserver.data.product import Target
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.images.apertures import measure_apertures, measure_trails
from virtualobserver.maths.images.sources import SourceList
from virtualobserver.typing import Record, RecordDict

if TYPE_CHECKING:
    from astropy.wcs import WCS

    from virtualobserver.catalog.reference import ReferenceCatalogue

__all__ = [
    "SEEING",
    "FrameStars",
    "Trails",
    "aperture_columns",
    "locate_stars",
    "measure_stars",
    "named_places",
    "near_stars",
    "trails_of",
    "width_of",
]

_CROWDED: Final = 3.0
"""A neighbour counts that is up to so many magnitudes fainter."""
SEEING: Final = "seeing"
"""What the aperture is called that follows the width of the stars."""
USUAL_WIDTH: Final = 2.5
"""Pixels, of a frame without stars."""
_LONG_SIGMA: Final = 3.0
"""Standard deviations by which a source is longer than wide, to be a trail; (a^2 - b^2) has one of 2 b^2 / SNR."""
_WINGS: Final = 1.5
"""A neighbour shines into an aperture from so many widths (FWHM) beyond it."""

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Trails:
    """Length (pixels, 0 = none) and angle (degrees from the x axis) of the trails of sources."""

    length: FloatArray
    theta: FloatArray


@dataclass(frozen=True, eq=False)
class FrameStars:
    """Stars of the catalogue (and further targets) that are on a frame, brightest first, shape (n,).

    Parameters
    ----------
    source_id
        Numbers of the catalogue; `NO_STAR` for targets that are not in it.
    name
        Names of targets, else empty.
    ra, dec
        ICRS degrees at the epoch of the frame.
    mag, colour, mag_error
        As the catalogue says; NaN where it does not.
    x, y
        Pixels from 0.
    source
        Which of the sources found is the star, -1 = none.
    crowded
        Whether another star of the catalogue shines into the aperture.
    """

    source_id: NDArray[np.int64]
    name: NDArray[np.str_]
    ra: FloatArray
    dec: FloatArray
    mag: FloatArray
    colour: FloatArray
    mag_error: FloatArray
    x: FloatArray
    y: FloatArray
    source: NDArray[np.int64]
    crowded: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.x)


def named_places(target: Target, own: PhotometrySettings, epoch: float) -> dict[str, tuple[float, float]]:
    """Return where, in a Julian year, the configuration's targets are, and the one worked on if it is a star."""
    places = dict(own.targets)
    if target.kind == "object" and target.ra is not None and target.dec is not None:
        places.setdefault(target.name, target.position_at(epoch))
    return places


def locate_stars(
    image: Image,
    wcs: WCS,
    found: SourceList,
    catalogue: ReferenceCatalogue | None,
    own: PhotometrySettings,
    *,
    targets: Mapping[str, tuple[float, float]],
) -> FrameStars:
    """Return the stars that are on a frame, and which sources they are.

    Parameters
    ----------
    targets
        Further positions by name, degrees; one that is a star of the catalogue gives it its name.

    Raises
    ------
    CatalogError, StoreError, ArchiveError
        If the catalogue cannot be asked.
    """
    listed = _listed(image, wcs, catalogue, targets, own.match_radius)
    with (
        warnings.catch_warnings()
    ):  # far outside, where no place of a star is looked for, polynomials run away
        warnings.simplefilter("ignore", RuntimeWarning)
        places = wcs.all_world2pix(listed["ra"], listed["dec"], 0, quiet=True)
    x, y = (np.asarray(axis, float) for axis in places)
    ny, nx = image.data.shape
    edge = max(own.radii)
    with np.errstate(invalid="ignore"):
        on_frame = (x > edge) & (x < nx - 1 - edge) & (y > edge) & (y < ny - 1 - edge)
    faintest = np.where(np.isnan(listed["mag"]), np.inf, listed["mag"])
    rows = np.flatnonzero(on_frame)
    rows = rows[np.lexsort((faintest[rows], listed["name"][rows] == ""))]
    kept = {name: values[rows] for name, values in listed.items()}
    width = width_of(image)
    crowded = _crowded(x[rows], y[rows], kept["mag"], reach=edge + _WINGS * width)
    first = slice(0, own.stars + int((kept["name"] != "").sum()))
    place = np.stack([x[rows], y[rows]], axis=1)[first]
    source = _nearest(place, found, max(own.match_radius / scale_of(wcs), 1.0))
    return FrameStars(
        x=place[:, 0], y=place[:, 1], source=source, crowded=crowded[first],
        **{name: values[first] for name, values in kept.items()},
    )  # fmt: skip


def measure_stars(
    image: Image, stars: FrameStars, own: PhotometrySettings
) -> tuple[RecordDict, dict[str, str]]:
    """Sum the light at the places of the stars, found there or not.

    Returns
    -------
    columns, units
        ``source_id, name, ra, dec, mag, mag_error, colour, x, y``, ``flux_R, flux_error_R`` for each aperture radius R
        (electrons), ``sky, flags, detected, crowded``.
    """
    columns: RecordDict = {
        name: getattr(stars, name)
        for name in ("source_id", "name", "ra", "dec", "mag", "mag_error", "colour", "x", "y")
    }
    light, units = aperture_columns(image, stars.x, stars.y, own)
    columns |= light | {"detected": stars.source >= 0, "crowded": stars.crowded}
    return columns, units | {"ra": "deg", "dec": "deg", "mag": "mag", "mag_error": "mag", "colour": "mag"}


def aperture_columns(
    image: Image, x: FloatArray, y: FloatArray, own: PhotometrySettings, *, trails: Trails | None = None
) -> tuple[RecordDict, dict[str, str]]:
    """Return fluxes in all apertures, sky and flags as columns, and their units.

    With `fwhm_radius` there are ``flux_seeing, flux_error_seeing`` too, drawn out along `trails`.
    """
    assert image.variance is not None
    found = measure_apertures(
        image.data, image.variance, x, y, radii=own.radii, annulus=own.annulus, mask=image.mask
    )
    columns: RecordDict = {}
    units = {"x": "pix", "y": "pix", "sky": "electron"}
    flags = np.zeros(len(x), dtype=np.int64)
    for radius, light in zip(own.radii, found, strict=True):
        columns |= {f"flux_{radius:g}": light.flux, f"flux_error_{radius:g}": light.flux_error}
        units |= {f"flux_{radius:g}": "electron", f"flux_error_{radius:g}": "electron"}
        flags |= light.flags
    if own.fwhm_radius is not None:
        light = measure_trails(
            image.data, image.variance, x, y, radius=own.fwhm_radius * width_of(image), annulus=own.annulus,
            mask=image.mask, length=None if trails is None else trails.length,
            theta=None if trails is None else trails.theta,
        )  # fmt: skip
        columns |= {f"flux_{SEEING}": light.flux, f"flux_error_{SEEING}": light.flux_error}
        units |= {f"flux_{SEEING}": "electron", f"flux_error_{SEEING}": "electron"}
    return columns | {"sky": found[-1].sky, "flags": flags}, units


def trails_of(found: SourceList, width: float, own: PhotometrySettings) -> Trails:
    """Return the trails of sources: of a line of even light, a^2 - b^2 is a twelfth of its length squared.

    What most sources have of it is the telescope's, and not theirs.
    """
    long = found.a**2 - found.b**2
    if not len(found):
        return Trails(long, found.theta)
    long = long - float(np.median(long))
    noise = _LONG_SIGMA * 2 * found.b**2 / np.maximum(found.snr, 1.0)
    length = np.sqrt(12 * np.maximum(long, 0.0))
    real = (length > own.trail * width) & (long > noise) & ~found.blended & ~found.truncated
    return Trails(np.where(real, length, 0.0), found.theta)


def near_stars(found: SourceList, stars: FrameStars, reach: float) -> NDArray[np.bool_]:
    """Return which sources have a star of the catalogue within `reach` pixels that is not themselves."""
    near = np.zeros(len(found), dtype=bool)
    if not len(found) or not len(stars):
        return near
    around, spots = (cKDTree(np.stack([one.x, one.y], axis=1)) for one in (stars, found))
    pairs = spots.sparse_distance_matrix(around, reach, output_type="ndarray")
    near[pairs["i"][stars.source[pairs["j"]] != pairs["i"]]] = True
    return near


def width_of(image: Image) -> float:
    """Return the width of the stars of a frame, FWHM in pixels; a usual one where it has none."""
    return float(image.header.get("FWHM") or USUAL_WIDTH)


# --- inside -----------------------------------------------------------------------------------------------


def _listed(
    image: Image,
    wcs: WCS,
    catalogue: ReferenceCatalogue | None,
    targets: Mapping[str, tuple[float, float]],
    radius: float,
) -> dict[str, Array]:
    """Return the stars of the catalogue around the frame, and the further targets that are none of them."""
    names, places = list(targets), np.array(list(targets.values()), float).reshape(-1, 2)
    alone = np.ones(len(names), dtype=bool)
    parts: list[Record] = []
    if catalogue is not None:
        ny, nx = image.data.shape
        ra, dec = (float(axis) for axis in wcs.all_pix2world((nx - 1) / 2, (ny - 1) / 2, 0))
        half = 0.5 * float(np.hypot(nx, ny)) * scale_of(wcs) / ARCSEC_PER_DEGREE
        # a twentieth more, as distortion moves corners outwards
        stars = catalogue.cone(ra % 360, dec, 1.05 * half, epoch_of(image))
        called = np.full(len(stars), "", dtype=f"U{max(map(len, names), default=1)}")
        for number, name in enumerate(names):
            away = stars.distances(*places[number])
            if len(stars) and away.min() <= radius:
                called[int(np.argmin(away))], alone[number] = name, False
        parts.append(
            {"source_id": stars.source_id, "name": called, "ra": stars.ra, "dec": stars.dec, "mag": stars.mag,
             "colour": stars.bp_rp, "mag_error": stars.mag_error}
        )  # fmt: skip
    nothing = np.full(int(alone.sum()), np.nan)
    parts.append(
        {"source_id": np.full(len(nothing), NO_STAR), "name": np.array(names, dtype=np.str_)[alone],
         "ra": places[alone, 0], "dec": places[alone, 1], "mag": nothing, "colour": nothing, "mag_error": nothing}
    )  # fmt: skip
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _crowded(x: FloatArray, y: FloatArray, mag: FloatArray, *, reach: float) -> NDArray[np.bool_]:
    """Return which stars have another one, not much fainter, within `reach` pixels."""
    crowded = np.zeros(len(x), dtype=bool)
    if not len(x):
        return crowded
    pairs = cKDTree(np.stack([x, y], axis=1)).query_pairs(reach, output_type="ndarray")
    for one, other in (pairs.T, pairs.T[::-1]):
        # a neighbour of unknown brightness counts
        crowded[one[~(mag[other] > mag[one] + _CROWDED)]] = True
    return crowded


def _nearest(places: FloatArray, found: SourceList, radius: float) -> NDArray[np.int64]:
    """Return for each place the nearest source, -1 = none; a source is one star only."""
    rows = np.full(len(places), -1, dtype=np.int64)
    if not len(places) or not len(found):
        return rows
    tree = cKDTree(np.stack([found.x, found.y], axis=1))
    away, nearest = (np.atleast_1d(one) for one in tree.query(places, distance_upper_bound=radius))
    order: Sequence[int] = np.argsort(away, kind="stable").tolist()
    taken: set[int] = set()
    for place in order:
        if np.isfinite(away[place]) and int(nearest[place]) not in taken:
            taken.add(int(nearest[place]))
            rows[place] = nearest[place]
    return rows
