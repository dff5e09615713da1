"""Plate solution: world coordinates of a frame from its stars, those of a catalogue, and a rough pointing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from virtualobserver.conventions import ARCSEC_PER_DEGREE
from virtualobserver.errors import DataError, NoMatch, NotEnoughData
from virtualobserver.maths.astrometry.fit import Field, PlateFit, match_pixels, refine_plate
from virtualobserver.maths.astrometry.motion import move_linear
from virtualobserver.maths.astrometry.quads import Candidate, chance, find_candidates
from virtualobserver.maths.astrometry.tan_sip import TanSip, deproject, project
from virtualobserver.typing import Record

__all__ = ["PlateHint", "PlateSolution", "search_radius", "solve_plate"]

FloatArray = NDArray[np.float64]

DEPTHS: Final = ((50, 1.0), (100, 1.0), (60, 2.0), (60, 0.5), (250, 1.0), (25, 1.0))
"""Sources tried, and how many stars of the catalogue for each over the same area; few, for bright stars only."""
NEAR_GIVEN: Final = 5.0
"""Pixels within which given world coordinates put stars: other programs leave the distortion at the corners."""
CERTAIN: Final = -23.0
"""Natural logarithm of the chance of an accident below which a solution stands: 1e-10."""


@dataclass(frozen=True)
class PlateHint:
    """What is known of a frame before it is solved.

    Parameters
    ----------
    ra, dec
        Of its middle, degrees (ICRS).
    scale
        Arcsec per pixel.
    radius
        How far off `ra` and `dec` may be, degrees.
    scale_error
        How far off `scale` may be, as a fraction.
    parity
        -1 = as the sky is seen, 1 = mirrored, 0 = not known.
    """

    ra: float
    dec: float
    scale: float
    radius: float = 1.0  # chosen: more than mounts point wrongly by
    # chosen: focal lengths as stated are seldom further off
    scale_error: float = 0.2
    parity: int = 0

    def __post_init__(self) -> None:
        numbers = (self.ra, self.dec, self.scale, self.radius, self.scale_error)
        fine = all(math.isfinite(number) for number in numbers) and abs(self.dec) <= 90
        if not fine or self.scale <= 0 or self.radius <= 0 or not 0 <= self.scale_error < 1:
            msg = f"no hint for a plate solution: {self}; dec is -90 to 90, scale and radius are above 0"
            raise DataError(msg)


@dataclass(frozen=True, eq=False)
class PlateSolution:
    """World coordinates of a frame and how good they are.

    Parameters
    ----------
    wcs
        FITS keywords (TAN or TAN-SIP, pixels counted from 1).
    plate
        The same, to compute with (pixels counted from 0).
    n
        Stars fitted.
    rejected
        Stars that matched and were left out of the fit.
    rms_x, rms_y
        Of the residuals, pixels.
    rms
        Of the residuals per axis, arcsec.
    check
        Median distance of stars from where a fit without them puts them, arcsec.
    log_chance
        Natural logarithm of the chance that as many bright stars match by accident.
    completeness
        Fraction of the catalogue's stars on the frame that are matched.
    sources, stars
        Positions of the fitted pairs in the lists that were given.
    """

    wcs: Record
    plate: TanSip
    n: int
    rejected: int
    rms_x: float
    rms_y: float
    rms: float
    check: float
    log_chance: float
    completeness: float
    sources: NDArray[np.int64]
    stars: NDArray[np.int64]

    @property
    def scale(self) -> float:
        """Arcsec per pixel in the middle."""
        return self.plate.scale

    def statistics(self) -> dict[str, float]:
        """Return the numbers that go beside a product."""
        return {
            "wcs_n": float(self.n), "wcs_rejected": float(self.rejected), "wcs_rms_arcsec": self.rms,
            "wcs_rms_x_px": self.rms_x, "wcs_rms_y_px": self.rms_y, "wcs_check_arcsec": self.check,
            "wcs_scale_arcsec": self.scale, "wcs_rotation_deg": self.plate.rotation,
            "wcs_parity": float(self.plate.parity), "wcs_order": float(self.plate.order),
            "wcs_log_chance": self.log_chance, "wcs_completeness": self.completeness,
        }  # fmt: skip


def search_radius(hint: PlateHint, shape: tuple[int, int]) -> float:
    """Return the radius (degrees) around the hint inside which stars of the frame can be."""
    half = 0.5 * math.hypot(*shape) * hint.scale * (1 + hint.scale_error) / ARCSEC_PER_DEGREE
    return hint.radius + half


def solve_plate(
    sources: tuple[ArrayLike, ArrayLike, ArrayLike],
    stars: tuple[ArrayLike, ArrayLike, ArrayLike],
    *,
    hint: PlateHint,
    shape: tuple[int, int],
    motion: tuple[ArrayLike, ArrayLike] | None = None,
    years: float = 0.0,
    error: ArrayLike | None = None,
    order: int = 3,  # the first distortion of a symmetric lens is cubic
    fewest: int = 8,  # a plane has six numbers, and two stars more show whether it holds. Chosen
    first: TanSip | None = None,
    highest_rms: float | None = 0.5,  # chosen: more than centroids of stars, less than wrong pairs leave
) -> PlateSolution:
    """Find the world coordinates of a frame.

    Scale within the hint's error, position within its radius, any rotation, both parities. Bright sources and
    bright stars are matched by the shapes of quadruples at several depths; a match stands if it can be no
    accident and enough stars agree with it, and is fitted with a polynomial.

    Parameters
    ----------
    sources
        x, y (pixels from 0) and flux (any linear unit), each of shape (n,).
    stars
        Right ascension, declination (degrees) and magnitude, each of shape (m,). Best all within
        `search_radius`; magnitudes not known count as faintest.
    motion
        Proper motions of the stars, mas/yr, the first times cos(dec); NaN = none.
    years
        From the epoch of the stars' positions to that of the frame.
    error : array_like, optional
        Standard deviation of the sources' positions, pixels; by default all are alike.
    order
        Highest order of the distortion, 1 to 5; fewer stars carry a lower one.
    fewest
        Least stars in a solution.
    first
        World coordinates that put the stars within a few pixels of where they are; None = they are looked for.
    highest_rms
        Largest residual (pixels rms an axis) of a good solution; None = any.

    Raises
    ------
    NotEnoughData
        If there are fewer than `fewest` sources or stars.
    NoMatch
        If they do not fall on each other; the message says how far it came.
    DataError
        If an argument is impossible.
    """
    _check_order(order)
    field, ours, theirs = _prepare(sources, stars, hint, shape, (motion, years, error))
    _check_numbers(len(ours), len(theirs), fewest)
    if first is None:
        found, certainty = _first_that_stands(field, hint, order, fewest, highest_rms)
    else:
        found, certainty = _from_given(field, hint, first, (order, fewest, highest_rms))
    return _solution(found, certainty, ours, theirs)


# --- inside -----------------------------------------------------------------------------------------------


def _check_order(order: int) -> None:
    if not 1 <= order <= 5:
        msg = f"a plate has an order of 1 to 5, not {order}"
        raise DataError(msg)


def _check_numbers(sources: int, stars: int, fewest: int) -> None:
    for name, count in (("sources on the frame", sources), ("stars of the catalogue", stars)):
        if count < fewest:
            msg = f"no plate solution: {count} {name}, at least {fewest} are needed"
            raise NotEnoughData(msg)


def _complex(axes: tuple[FloatArray, FloatArray]) -> NDArray[np.complex128]:
    return np.asarray(axes[0] + 1j * axes[1])


def _prepare(
    sources: tuple[ArrayLike, ArrayLike, ArrayLike],
    stars: tuple[ArrayLike, ArrayLike, ArrayLike],
    hint: PlateHint,
    shape: tuple[int, int],
    more: tuple[tuple[ArrayLike, ArrayLike] | None, float, ArrayLike | None],
) -> tuple[Field, NDArray[np.int64], NDArray[np.int64]]:
    """Sort both lists by brightness, leave out what cannot be used, move the stars to the epoch."""
    motion, years, error = more
    x, y, flux = (np.atleast_1d(np.asarray(values, dtype=np.float64)) for values in sources)
    ra, dec, mag = (np.atleast_1d(np.asarray(values, dtype=np.float64)) for values in stars)
    if not len(x) == len(y) == len(flux) or not len(ra) == len(dec) == len(mag):
        msg = f"sources of lengths {len(x)}, {len(y)}, {len(flux)} and stars of {len(ra)}, {len(dec)}, {len(mag)}"
        raise DataError(msg)
    if motion is not None and years:
        ra, dec = move_linear(ra, dec, *motion, np.full(len(ra), years))
    sigma = np.ones(len(x)) if error is None else np.broadcast_to(np.asarray(error, np.float64), x.shape)
    fine = np.isfinite(x + y + flux) & np.isfinite(sigma) & (sigma > 0)
    ours = np.flatnonzero(fine)[np.argsort(-flux[fine], kind="stable")]
    # the tangent plane has no place for stars 90 degrees away: 80 is the widest that is looked at
    xi, eta = project(ra, dec, hint.ra, hint.dec)
    near = np.hypot(xi, eta) <= np.rad2deg(np.tan(np.deg2rad(min(search_radius(hint, shape), 80.0))))
    theirs = np.flatnonzero(near)[np.argsort(np.where(np.isnan(mag), np.inf, mag)[near], kind="stable")]
    weight = 1 / sigma[ours] ** 2
    field = Field(x[ours], y[ours], weight, ra[theirs], dec[theirs], (int(shape[0]), int(shape[1])))
    return field, ours, theirs


def _first_that_stands(
    field: Field, hint: PlateHint, order: int, fewest: int, highest_rms: float | None
) -> tuple[PlateFit, float]:
    """Return the first plate that stands, and the logarithm of the chance that it is an accident.

    Raises
    ------
    NoMatch
        If there is none; the message says how far it came.
    """
    plane = _complex(project(field.ra, field.dec, hint.ra, hint.dec))
    reached = (0, "no quadruples of stars are alike within the scale")
    tried: set[tuple[int, int]] = set()
    for depth in DEPTHS:
        bright = _bright(field, hint, depth)
        counts = len(bright.x), len(bright.ra)
        if counts in tried or min(counts) < 4:
            continue
        tried.add(counts)
        for candidate in _candidates(bright, plane, hint):
            found = refine_plate(field, bright, *_first(candidate, field.shape, hint), order=order)
            if found is None:
                continue
            certainty = _certainty(found, bright)
            reason = _refuse(found, certainty, fewest, highest_rms)
            if not reason:
                return found, certainty
            reached = max(reached, (len(found.sources), f"the best of them {reason}"))
    msg = f"no plate solution for {len(field.x)} sources and {len(field.ra)} stars within "
    msg += f'{hint.radius:g} deg of {hint.ra:.4f} {hint.dec:+.4f} at {hint.scale:g}" ± {100 * hint.scale_error:.0f} %: '
    raise NoMatch(msg + reached[1])


def _from_given(
    field: Field, hint: PlateHint, first: TanSip, wanted: tuple[int, int, float | None]
) -> tuple[PlateFit, float]:
    """Return the plate that given world coordinates lead to, as `_first_that_stands` does.

    Raises
    ------
    NoMatch
        If it does not stand.
    """
    order, fewest, highest_rms = wanted
    bright = _bright(field, hint, DEPTHS[1])
    found = refine_plate(field, bright, first, NEAR_GIVEN, order=order)
    certainty = 0.0 if found is None else _certainty(found, bright)
    reason = "no stars fall on sources" if found is None else _refuse(found, certainty, fewest, highest_rms)
    if found is None or reason:
        msg = f"no plate solution from the world coordinates given: {reason}"
        raise NoMatch(msg)
    return found, certainty


def _bright(field: Field, hint: PlateHint, depth: tuple[int, float]) -> Field:
    """Return the brightest sources, and as many stars per area times a factor."""
    number, factor = depth
    number = min(number, len(field.x))
    pixel = (hint.scale / ARCSEC_PER_DEGREE) ** 2
    frame = pixel * field.shape[0] * field.shape[1]
    circle = math.pi * search_radius(hint, field.shape) ** 2
    return field.brightest(number, max(math.ceil(factor * number * max(circle / frame, 1.0)), 4))


def _candidates(bright: Field, plane: NDArray[np.complex128], hint: PlateHint) -> list[Candidate]:
    pixel = hint.scale / ARCSEC_PER_DEGREE
    parities = {0: (False, True), 1: (False,), -1: (True,)}[hint.parity]
    middle = complex((bright.shape[1] - 1) / 2, (bright.shape[0] - 1) / 2)
    return find_candidates(
        _complex((bright.x, bright.y)) - middle,
        plane[: len(bright.ra)],
        scale=(pixel * (1 - hint.scale_error), pixel * (1 + hint.scale_error)),
        parities=parities,
    )


def _first(candidate: Candidate, shape: tuple[int, int], hint: PlateHint) -> tuple[TanSip, float]:
    """Return the world coordinates a candidate stands for, and the radius (pixels) it was found with."""
    here = candidate(np.zeros(1, dtype=np.complex128))[0]
    ra, dec = deproject(here.real, here.imag, hint.ra, hint.dec)
    # North turns between the pole of the hint and the middle of the frame.
    step = project(*deproject(here.real, here.imag + 1e-4, hint.ra, hint.dec), float(ra), float(dec))
    turn = complex(*(float(value) for value in step)) / 1e-4j
    factor = candidate.factor * turn / abs(turn)
    sign = -1 if candidate.mirrored else 1
    cd = np.array([[factor.real, -sign * factor.imag], [factor.imag, sign * factor.real]])
    none = np.zeros((0, 0))
    middle = ((shape[1] - 1) / 2, (shape[0] - 1) / 2)
    plate = TanSip((float(ra), float(dec)), middle, cd, none, none, none, none)
    return plate, max(candidate.radius / abs(candidate.factor), 2.0)


def _certainty(found: PlateFit, bright: Field) -> float:
    """Return the logarithm of the chance that as many of the bright sources match by accident.

    Each term of the distortion brings one star to where it is wanted, whether it belongs there or not: these do not
    count.
    """
    radius = max(5 * float(np.sqrt(np.mean(found.residual**2))), 0.5)
    sources, _, on_frame = match_pixels(found.plate, bright, radius)
    probability = on_frame * math.pi * radius**2 / (bright.shape[0] * bright.shape[1])
    order = found.plate.order
    brought = (order + 1) * (order + 2) // 2 - 3
    return chance(max(len(sources) - brought, 0), max(len(bright.x) - brought, 1), probability)


def _refuse(found: PlateFit, certainty: float, fewest: int, highest_rms: float | None) -> str:
    n = len(found.sources)
    rms = float(np.sqrt(np.mean(found.residual**2))) if n else math.inf
    if n < fewest:
        return f"has {n} stars, at least {fewest} are needed"
    if highest_rms is not None and rms > highest_rms:
        return f"has {n} stars that scatter by {rms:.2f} px, more than {highest_rms:g}"
    if certainty > CERTAIN:
        return f"has {n} stars, which may be an accident (chance exp({certainty:.1f}))"
    return ""


def _solution(
    found: PlateFit, certainty: float, ours: NDArray[np.int64], theirs: NDArray[np.int64]
) -> PlateSolution:
    rms_x, rms_y = np.sqrt(np.mean(found.residual**2, axis=0)).tolist()
    scale = found.plate.scale
    return PlateSolution(
        wcs=found.plate.header(),
        plate=found.plate,
        n=len(found.sources),
        rejected=found.rejected,
        rms_x=rms_x,
        rms_y=rms_y,
        rms=scale * math.sqrt((rms_x**2 + rms_y**2) / 2),
        check=scale * found.check,
        log_chance=certainty,
        completeness=len(found.sources) / max(found.on_frame, 1),
        sources=ours[found.sources],
        stars=theirs[found.stars],
    )
