"""World coordinates of a frame: gnomonic projection with polynomial distortion (TAN-SIP), and its fit.

Sources: Calabretta & Greisen 2002, A&A 395, 1077 (TAN); Shupe et al. 2005, ASP Conf. Ser. 347, 491 (SIP).
Pixels are counted from 0 at the middle of the first one; only the header counts from 1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from virtualobserver.conventions import ARCSEC_PER_DEGREE
from virtualobserver.errors import DataError, NotEnoughData
from virtualobserver.typing import Record, RecordDict

__all__ = [
    "TanSip",
    "count_terms",
    "deproject",
    "fit_tan_sip",
    "project",
    "read_tan_sip",
    "replace_world",
    "world_cards",
]

FloatArray = NDArray[np.float64]
_WORLD: Final = re.compile(
    r"WCSAXES|(CTYPE|CUNIT|CRVAL|CRPIX|CDELT|CROTA)\d|(CD|PC|PV|PS)\d_\d+|(A|B|AP|BP)_(ORDER|DMAX|\d_\d)"
    r"|RADESYS|RADECSYS|EQUINOX|LONPOLE|LATPOLE"
)
"""Keywords of world coordinates and their distortion."""
ROUND_TRIP: Final = 1e-3
"""Wanted accuracy of the inverse polynomials, pixels: a tenth of the error of the best centroids, 0.01 pixels."""
HIGHEST_INVERSE: Final = 6
"""Order of the inverse polynomials; readers of SIP need no more than 9, and higher ones swing at the corners."""
EXACT: Final = 1e-7
"""Accuracy of `TanSip.to_pixel`, pixels: far below all that is measured, far above rounding (1e-12 of them)."""
MOST_STEPS: Final = 20
"""Most iterations of the inverse; a distortion of 1 % gains two digits in each."""


def project(ra: ArrayLike, dec: ArrayLike, ra0: float, dec0: float) -> tuple[FloatArray, FloatArray]:
    """Project positions onto the plane that touches the sphere at (ra0, dec0); all in degrees.

    Returns
    -------
    xi, eta
        East and north on the plane, degrees; NaN for positions on the other half of the sky.
    """
    a = np.deg2rad(np.asarray(ra, dtype=np.float64) - ra0)
    d, d0 = np.deg2rad(np.asarray(dec, dtype=np.float64)), np.deg2rad(dec0)
    depth = np.sin(d) * np.sin(d0) + np.cos(d) * np.cos(d0) * np.cos(a)
    depth = np.where(depth > 1e-6, depth, np.nan)
    xi = np.cos(d) * np.sin(a) / depth
    eta = (np.sin(d) * np.cos(d0) - np.cos(d) * np.sin(d0) * np.cos(a)) / depth
    return np.rad2deg(xi), np.rad2deg(eta)


def deproject(xi: ArrayLike, eta: ArrayLike, ra0: float, dec0: float) -> tuple[FloatArray, FloatArray]:
    """Return right ascension (0 to 360) and declination of points of the plane; see `project`."""
    x, y = np.deg2rad(np.asarray(xi, dtype=np.float64)), np.deg2rad(np.asarray(eta, dtype=np.float64))
    d0 = np.deg2rad(dec0)
    depth = np.cos(d0) - y * np.sin(d0)
    ra = ra0 + np.rad2deg(np.arctan2(x, depth))
    dec = np.rad2deg(np.arctan2(np.sin(d0) + y * np.cos(d0), np.hypot(x, depth)))
    return np.asarray(ra % 360.0), np.asarray(dec)


@dataclass(frozen=True, eq=False)
class TanSip:
    """World coordinates of a frame.

    Parameters
    ----------
    crval
        Right ascension and declination of the reference pixel, degrees (ICRS).
    crpix
        Reference pixel x, y, counted from 0.
    cd
        Degrees per pixel, shape (2, 2).
    a, b
        Distortion of x and y, ``a[i, j]`` for u**i * v**j with i + j >= 2; shape (order + 1, order + 1).
    ap, bp
        Its inverse, for the header; may be left out (shape (0, 0)).
    """

    crval: tuple[float, float]
    crpix: tuple[float, float]
    cd: FloatArray
    a: FloatArray
    b: FloatArray
    ap: FloatArray
    bp: FloatArray

    @property
    def order(self) -> int:
        """Highest power of the distortion; 1 = none."""
        return max(len(self.a) - 1, 1)

    @property
    def scale(self) -> float:
        """Arcsec per pixel at the reference pixel."""
        return float(np.sqrt(abs(np.linalg.det(self.cd))) * ARCSEC_PER_DEGREE)

    @property
    def parity(self) -> int:
        """-1 as the sky is seen (east to the left of north), 1 for a mirrored frame."""
        return 1 if np.linalg.det(self.cd) > 0 else -1

    @property
    def rotation(self) -> float:
        """Angle of the y axis from north towards east, degrees."""
        return float(np.rad2deg(np.arctan2(self.cd[0, 1], self.cd[1, 1])))

    def to_sky(self, x: ArrayLike, y: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Return right ascension and declination (degrees) of pixels."""
        u = np.asarray(x, dtype=np.float64) - self.crpix[0]
        v = np.asarray(y, dtype=np.float64) - self.crpix[1]
        du, dv = _evaluate(self.a, u, v), _evaluate(self.b, u, v)
        u, v = u + du, v + dv
        return deproject(
            self.cd[0, 0] * u + self.cd[0, 1] * v, self.cd[1, 0] * u + self.cd[1, 1] * v, *self.crval
        )

    def to_pixel(self, ra: ArrayLike, dec: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Return the pixels of positions (degrees), exact to 1e-6 px on and near the frame."""
        xi, eta = project(ra, dec, *self.crval)
        inverse = np.linalg.inv(self.cd)
        wide_u = inverse[0, 0] * xi + inverse[0, 1] * eta
        wide_v = inverse[1, 0] * xi + inverse[1, 1] * eta
        u = wide_u + _evaluate(self.ap, wide_u, wide_v)
        v = wide_v + _evaluate(self.bp, wide_u, wide_v)
        with np.errstate(over="ignore", invalid="ignore"):  # far outside the frame polynomials say nothing
            for _ in range(MOST_STEPS if len(self.a) else 0):
                last = u, v
                u, v = wide_u - _evaluate(self.a, u, v), wide_v - _evaluate(self.b, u, v)
                if (
                    max(np.max(np.abs(u - last[0]), initial=0), np.max(np.abs(v - last[1]), initial=0))
                    < EXACT
                ):
                    break
        return u + self.crpix[0], v + self.crpix[1]

    def header(self) -> RecordDict:
        """Return the FITS keywords; LONPOLE is said because its default is another one at the celestial pole."""
        sip = "-SIP" if len(self.a) else ""
        cards: RecordDict = {
            "WCSAXES": 2, "CTYPE1": f"RA---TAN{sip}", "CTYPE2": f"DEC--TAN{sip}", "CUNIT1": "deg",
            "CUNIT2": "deg", "RADESYS": "ICRS", "LONPOLE": 180.0, "CRVAL1": self.crval[0], "CRVAL2": self.crval[1],
            "CRPIX1": self.crpix[0] + 1, "CRPIX2": self.crpix[1] + 1,
        }  # fmt: skip
        cards |= {f"CD{i + 1}_{j + 1}": float(self.cd[i, j]) for i in range(2) for j in range(2)}
        for name, terms in {"A": self.a, "B": self.b, "AP": self.ap, "BP": self.bp}.items():
            if len(terms):
                cards[f"{name}_ORDER"] = len(terms) - 1
                cards |= {f"{name}_{i}_{j}": float(terms[i, j]) for i, j in np.argwhere(terms != 0).tolist()}
        return cards


def read_tan_sip(cards: Record) -> TanSip:
    """Return what `TanSip.header` wrote, or world coordinates of the same kind with a CD matrix.

    Raises
    ------
    DataError
        If they are of another kind, or a card is missing.
    """
    if not str(cards.get("CTYPE1", "")).startswith("RA---TAN"):
        msg = (
            f"world coordinates of type {cards.get('CTYPE1')}: only TAN and TAN-SIP with a CD matrix are read"
        )
        raise DataError(msg)
    try:
        cd = np.array([[float(cards[f"CD{i}_{j}"]) for j in (1, 2)] for i in (1, 2)])
        pole = float(cards["CRVAL1"]), float(cards["CRVAL2"])
        centre = float(cards["CRPIX1"]) - 1, float(cards["CRPIX2"]) - 1
    except KeyError as error:
        msg = f"world coordinates without {error}"
        raise DataError(msg) from error
    return TanSip(pole, centre, cd, *(_terms(cards, name) for name in ("A", "B", "AP", "BP")))


def replace_world(header: Record, cards: Record) -> RecordDict:
    """Return a header with other world coordinates: nothing of the old ones, and of their distortion, is left."""
    kept = {key: value for key, value in header.items() if not _WORLD.fullmatch(key)}
    return {**kept, **cards}


def world_cards(header: Record) -> RecordDict:
    """Return the cards of a header that are world coordinates and their distortion."""
    return {key: value for key, value in header.items() if _WORLD.fullmatch(key)}


def count_terms(order: int) -> int:
    """Return how many coefficients a polynomial of two variables has."""
    return (order + 1) * (order + 2) // 2


def fit_tan_sip(
    x: ArrayLike,
    y: ArrayLike,
    ra: ArrayLike,
    dec: ArrayLike,
    *,
    shape: tuple[int, int],
    order: int = 3,  # the first distortion of a symmetric lens is cubic
    weight: ArrayLike | None = None,
    near: tuple[float, float] | None = None,
    inverse: bool = True,
) -> TanSip:
    """Fit world coordinates to matched stars by linear least squares.

    The reference pixel is the middle of the frame; the pole of the projection moves until it falls there.

    Parameters
    ----------
    x, y : array_like, shape (n,)
        Pixels.
    ra, dec : array_like, shape (n,)
        Degrees.
    shape
        Rows and columns of the frame.
    order
        Of the polynomial: 1 = linear.
    weight : array_like, optional
        1/variance of each star's position.
    near
        Position of the middle of the frame if it is known roughly, degrees.
    inverse
        Whether to fit the inverse of the distortion too.

    Raises
    ------
    NotEnoughData
        If there are fewer stars than coefficients.
    DataError
        If the stars do not determine them (all on a line).
    """
    px, py, a, d = (np.atleast_1d(np.asarray(values, dtype=np.float64)) for values in (x, y, ra, dec))
    if len(px) < count_terms(order):
        msg = (
            f"{len(px)} stars for a plate of order {order}: it has {count_terms(order)} coefficients an axis"
        )
        raise NotEnoughData(msg)
    centre = ((shape[1] - 1) / 2, (shape[0] - 1) / 2)
    root = np.ones(len(px)) if weight is None else np.sqrt(np.asarray(weight, dtype=np.float64))
    pixels = (px - centre[0], py - centre[1], root)
    pole, terms = _fit_plane(pixels, (a, d), order, max(shape) / 2, near or _mean_position(a, d))
    return _assemble(pole, centre, terms, order, shape if inverse else None)


# --- inside -----------------------------------------------------------------------------------------------


def _fit_plane(
    pixels: tuple[FloatArray, FloatArray, FloatArray],
    sky: tuple[FloatArray, FloatArray],
    order: int,
    half: float,
    pole: tuple[float, float],
) -> tuple[tuple[float, float], dict[tuple[int, int], FloatArray]]:
    """Return the pole that the middle of the frame falls on, and the terms of the polynomial around it.

    Parameters
    ----------
    pixels
        x and y from the middle, and the root of the weights.
    half
        Pixels that make 1 in the fit.
    """
    x, y, root = pixels
    u, v = x / half, y / half
    powers = [(i, j) for i in range(order + 1) for j in range(order + 1 - i)]
    design = np.stack([u**i * v**j for i, j in powers], axis=1) * root[:, None]
    for _ in range(8):
        plane = np.stack(project(*sky, *pole), axis=1) * root[:, None]
        found, _, rank, _ = np.linalg.lstsq(design, plane, rcond=None)
        if rank < len(powers) or not np.isfinite(found).all():
            msg = f"{len(x)} stars do not determine a plate of order {order}; are they on a line?"
            raise DataError(msg)
        terms = {power: found[n] / half ** sum(power) for n, power in enumerate(powers)}
        fitted = pole  # the terms hold for this one: at a celestial pole the next may be turned
        if np.hypot(*terms[0, 0]) < 1e-11:  # degrees: far below a millionth of an arcsec
            break
        east, north = deproject(terms[0, 0][0], terms[0, 0][1], *pole)
        pole = (float(east), float(north))
    return fitted, terms


def _mean_position(ra: FloatArray, dec: FloatArray) -> tuple[float, float]:
    a, d = np.deg2rad(ra), np.deg2rad(dec)
    vector = [np.mean(np.cos(d) * np.cos(a)), np.mean(np.cos(d) * np.sin(a)), np.mean(np.sin(d))]
    east = np.rad2deg(np.arctan2(vector[1], vector[0])) % 360
    return float(east), float(np.rad2deg(np.arctan2(vector[2], np.hypot(vector[0], vector[1]))))


def _evaluate(terms: FloatArray, u: FloatArray, v: FloatArray) -> FloatArray:
    if not len(terms):
        return np.zeros(np.broadcast(u, v).shape)
    return np.asarray(np.polynomial.polynomial.polyval2d(u, v, terms))


def _terms(cards: Record, name: str) -> FloatArray:
    """Return the polynomial of one name, shape (order + 1, order + 1), or (0, 0)."""
    size = int(cards[f"{name}_ORDER"]) + 1 if f"{name}_ORDER" in cards else 0
    return np.array(
        [[float(cards.get(f"{name}_{i}_{j}", 0.0)) for j in range(size)] for i in range(size)]
    ).reshape(size, size)


def _assemble(
    pole: tuple[float, float],
    centre: tuple[float, float],
    terms: dict[tuple[int, int], FloatArray],
    order: int,
    shape: tuple[int, int] | None,
) -> TanSip:
    cd = np.array([terms[1, 0], terms[0, 1]]).T
    none = np.zeros((0, 0))
    if order < 2:
        return TanSip(pole, centre, cd, none, none, none, none)
    inverse = np.linalg.inv(cd)
    a, b = np.zeros((order + 1, order + 1)), np.zeros((order + 1, order + 1))
    for (i, j), value in terms.items():
        if i + j > 1:
            a[i, j], b[i, j] = inverse @ value
    ap, bp = _inverse(a, b, shape) if shape else (none, none)
    return TanSip(pole, centre, cd, a, b, ap, bp)


def _inverse(a: FloatArray, b: FloatArray, shape: tuple[int, int]) -> tuple[FloatArray, FloatArray]:
    """Fit the polynomials that undo `a` and `b` over the frame, of the lowest order that is exact enough."""
    half_y, half_x = (shape[0] - 1) / 2, (shape[1] - 1) / 2
    u, v = (
        g.ravel() for g in np.meshgrid(np.linspace(-half_x, half_x, 31), np.linspace(-half_y, half_y, 31))
    )
    wide_u, wide_v = u + _evaluate(a, u, v), v + _evaluate(b, u, v)
    half = max(half_x, half_y, 1.0)
    ap, bp = np.zeros((1, 1)), np.zeros((1, 1))
    for order in range(len(a) - 1, HIGHEST_INVERSE + 1):
        powers = [(i, j) for i in range(order + 1) for j in range(order + 1 - i)]
        design = np.stack([(wide_u / half) ** i * (wide_v / half) ** j for i, j in powers], axis=1)
        back = np.stack([u - wide_u, v - wide_v], axis=1)
        found = np.linalg.lstsq(design, back, rcond=None)[0]
        ap, bp = np.zeros((order + 1, order + 1)), np.zeros((order + 1, order + 1))
        for n, (i, j) in enumerate(powers):
            ap[i, j], bp[i, j] = found[n] / half ** (i + j)
        if np.abs(design @ found - back).max() < ROUND_TRIP:
            break
    return ap, bp
