"""Zero point of a frame against a catalogue, and what follows: limiting magnitude, sky, transparency, seeing.

The fit has a colour term, rejects outliers and estimates the scatter that the errors do not explain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

from virtualobserver.conventions import MAD_TO_SIGMA, MAG_TO_FLUX
from virtualobserver.errors import DataError, NotEnoughData

__all__ = [
    "FrameSeeing",
    "ZeroPoint",
    "fit_zero_point",
    "limiting_magnitude",
    "mark_outliers",
    "sky_brightness",
    "summarise_fwhm",
    "transparency",
]

FloatArray = NDArray[np.float64]
ROUNDS: Final = 20
"""Most iterations, should it not settle. Chosen, not tuned."""
SETTLED: Final = 1e-5
"""Change of the extra scatter (mag) that ends the iteration: a hundredth of the 1 mmag of the best photometry."""
NARROW: Final = 0.1
"""Range of colours (standard deviation, mag) below which no colour term can be fitted."""


@dataclass(frozen=True, eq=False)
class ZeroPoint:
    """m = -2.5 log10(flux / exptime) + zero_point + colour_term * (colour - colour_pivot).

    Parameters
    ----------
    zero_point, zero_point_error
        Magnitude of one unit of flux a second, at the colour `colour_pivot`.
    colour_term, colour_term_error
        mag per mag; 0 and NaN where none was fitted.
    colour_pivot
        Median colour of the stars, mag.
    scatter
        Of the stars beyond their errors, mag.
    rms
        Of the residuals, mag.
    chi2_reduced
        With the errors as given, without the scatter.
    r2
        Part of the variance of the catalogue's magnitudes that it explains, 1 - sum r^2 / sum (m - mean)^2.
    covariance
        Of zero point and colour term, shape (2, 2); 0 for a term that was not fitted.
    n, rejected
        Stars used, and left out as outliers.
    used
        Which of the given stars were used.
    """

    zero_point: float
    zero_point_error: float
    colour_term: float
    colour_term_error: float
    colour_pivot: float
    scatter: float
    rms: float
    chi2_reduced: float
    r2: float
    covariance: FloatArray
    n: int
    rejected: int
    used: NDArray[np.bool_]

    def magnitude(self, flux: ArrayLike, exptime: float, colour: ArrayLike | None = None) -> FloatArray:
        """Return magnitudes of fluxes; without colour, those of a star of the median colour; NaN if not positive."""
        counts = np.asarray(flux, dtype=np.float64) / exptime
        mag = -2.5 * np.log10(np.where(counts > 0, counts, np.nan)) + self.zero_point
        if colour is not None:
            away = np.asarray(colour, dtype=np.float64) - self.colour_pivot
            mag = mag + self.colour_term * np.where(np.isfinite(away), away, 0.0)
        return np.asarray(mag)

    def magnitude_error(
        self, flux: ArrayLike, flux_error: ArrayLike, colour: ArrayLike | None = None
    ) -> FloatArray:
        """Return the errors of magnitudes, of the fluxes and of the fit with its covariance; NaN if not positive."""
        light, error = np.asarray(flux, dtype=np.float64), np.asarray(flux_error, dtype=np.float64)
        away = np.zeros(light.shape)
        if colour is not None:
            away = np.asarray(colour, dtype=np.float64) - self.colour_pivot
            away = np.where(np.isfinite(away), away, 0.0)
        fit = self.covariance[0, 0] + 2 * away * self.covariance[0, 1] + away**2 * self.covariance[1, 1]
        with np.errstate(divide="ignore", invalid="ignore"):
            noise = np.where(light > 0, error / light / MAG_TO_FLUX, np.nan)
        return np.asarray(np.sqrt(noise**2 + fit))

    def statistics(self) -> dict[str, float]:
        """Return the numbers that go beside a product."""
        return {
            "zero_point": self.zero_point, "zero_point_error": self.zero_point_error,
            "colour_term": self.colour_term, "colour_term_error": self.colour_term_error,
            "zero_point_scatter": self.scatter, "zero_point_rms": self.rms, "zero_point_n": float(self.n),
            "zero_point_chi2": self.chi2_reduced, "zero_point_r2": self.r2,
            "zero_point_covariance": float(self.covariance[0, 1]),
        }  # fmt: skip


@dataclass(frozen=True)
class FrameSeeing:
    """Width of the stars of a frame: median and scatter (pixels), arcsec if the scale is known, stars used."""

    fwhm: float
    scatter: float
    fwhm_arcsec: float
    elongation: float
    n: int


def fit_zero_point(
    flux: ArrayLike,
    flux_error: ArrayLike,
    mag: ArrayLike,
    *,
    exptime: float,
    colour: ArrayLike | None = None,
    mag_error: ArrayLike | None = None,
    colour_error: ArrayLike | None = None,
    colour_term: float | None = None,
    mag_range: tuple[float, float] | None = None,
    fewest: int = 8,  # chosen: three numbers are fitted to them
    clip: float = 5.0,  # of 10,000 good stars none is lost; variables and blends are
) -> ZeroPoint:
    """Fit zero point, colour term and extra scatter by maximum likelihood.

    -2 ln L = sum of (m - model)^2 / (s^2 + e^2) + ln(s^2 + e^2), with e^2 of instrument, catalogue and colour;
    stars beyond `clip` robust deviations are left out, again and again until none is.

    Parameters
    ----------
    flux, flux_error : array_like, shape (n,)
        Of the sources, any linear unit.
    mag : array_like, shape (n,)
        Of the same stars in the catalogue.
    exptime
        Seconds.
    colour : array_like, optional
        Of the stars, e.g. G_BP - G_RP. Stars without one are left out of a fit with a colour term.
    mag_error, colour_error : array_like, optional
        Of the catalogue.
    colour_term
        Taken as known instead of fitted.
    mag_range
        Brightest and faintest magnitude used, e.g. (12, 16) to keep clear of saturation and noise.
    fewest
        Least stars.

    Raises
    ------
    NotEnoughData
        If fewer than `fewest` stars are usable.
    DataError
        If the exposure time is not positive, or the columns differ in length.
    """
    if not exptime > 0:
        msg = f"a zero point needs an exposure time above 0 s, not {exptime}"
        raise DataError(msg)
    f, fe, m, c, me, ce = _columns(flux, flux_error, mag, colour, mag_error, colour_error)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = m + 2.5 * np.log10(f / exptime)
        variance = (fe / f / MAG_TO_FLUX) ** 2 + me**2
    low, high = mag_range or (-np.inf, np.inf)
    good = np.isfinite(value) & np.isfinite(variance) & (f > 0) & (m >= low) & (m <= high)
    pivot, away = _from_pivot(c, good, fewest)
    terms, known = _terms(away, good, colour_term)
    target = value - known * away
    result = _clip_and_fit(target, terms, variance, ce, good, fewest=fewest, clip=clip)
    return _zero_point(result, (target, m), terms, good, pivot=pivot, known=known)


def _from_pivot(colour: FloatArray, good: NDArray[np.bool_], fewest: int) -> tuple[float, FloatArray]:
    """Return the median colour and how far each star is from it, and leave out of `good` stars without a colour.

    Where too few have one, both are 0 and none is left out.
    """
    coloured = int((good & np.isfinite(colour)).sum()) >= fewest
    good &= np.isfinite(colour) | (not coloured)
    if int(good.sum()) < fewest:
        msg = f"no zero point: {int(good.sum())} usable stars, at least {fewest} are needed"
        raise NotEnoughData(msg)
    if not coloured:
        return 0.0, np.zeros(len(colour))
    pivot = float(np.median(colour[good]))
    return pivot, np.where(np.isfinite(colour), colour - pivot, 0.0)


def limiting_magnitude(
    zero_point: float,
    background_variance: ArrayLike,
    *,
    fwhm: float,
    exptime: float,
    snr: float = 5.0,  # the usual one, as in LIMMAG of surveys
    aperture: float | None = None,
) -> float:
    """Return the magnitude of a point source with `snr` over the background.

    m = ZP - 2.5 log10(snr sqrt(V / sum p^2) / t), with 1 / sum p^2 = 4 pi sigma^2 of a Gaussian; with an
    aperture (radius, pixels), the area of the circle over the fraction of a Gaussian in it.

    Parameters
    ----------
    background_variance
        Of the pixels, squared unit of the flux; its median counts.
    fwhm
        Pixels.
    """
    values = np.asarray(background_variance, dtype=np.float64)
    usable = values[np.isfinite(values) & (values > 0)]
    if not len(usable) or not fwhm > 0 or not exptime > 0:
        return math.nan
    sigma = fwhm / (2 * math.sqrt(2 * math.log(2)))
    noise = math.sqrt(float(np.median(usable)))
    if aperture is None:
        least = snr * noise * math.sqrt(4 * math.pi) * sigma
    else:
        inside = 1 - math.exp(-0.5 * (aperture / sigma) ** 2)
        least = snr * noise * math.sqrt(math.pi) * aperture / inside
    return zero_point - 2.5 * math.log10(least / exptime)


def sky_brightness(zero_point: float, sky: float, *, exptime: float, scale: float) -> float:
    """Return mag per square arcsec of a sky (flux per pixel); `scale` is arcsec per pixel; NaN if not positive."""
    rate = sky / exptime / scale**2
    return zero_point - 2.5 * math.log10(rate) if rate > 0 else math.nan


def summarise_fwhm(
    fwhm: ArrayLike,
    *,
    elongation: ArrayLike | None = None,
    good: ArrayLike | None = None,
    scale: float | None = None,
) -> FrameSeeing:
    """Return the median width of the stars of a frame, hot pixels and galaxies left out as outliers.

    Parameters
    ----------
    fwhm, elongation : array_like, shape (n,)
        Pixels; major over minor axis.
    good : array_like of bool, optional
        Which sources are unsaturated, alone and bright enough.
    scale
        Arcsec per pixel.
    """
    values = np.asarray(fwhm, dtype=np.float64)
    keep = np.isfinite(values) & (values > 0)
    if good is not None:
        keep &= np.asarray(good, dtype=bool)
    if not keep.any():
        return FrameSeeing(math.nan, math.nan, math.nan, math.nan, 0)
    for _ in range(3):
        middle = float(np.median(values[keep]))
        spread = MAD_TO_SIGMA * float(np.median(np.abs(values[keep] - middle)))
        keep &= np.abs(values - middle) <= 3 * max(spread, 1e-6 * middle)
    middle = float(np.median(values[keep]))
    spread = MAD_TO_SIGMA * float(np.median(np.abs(values[keep] - middle)))
    long = math.nan if elongation is None else float(np.median(np.asarray(elongation, np.float64)[keep]))
    return FrameSeeing(middle, spread, math.nan if scale is None else middle * scale, long, int(keep.sum()))


def transparency(zero_points: ArrayLike) -> FloatArray:
    """Return the transmission of each frame relative to the median of the night, 10^(0.4 (ZP - median)).

    Parameters
    ----------
    zero_points : array_like, shape (n,)
        Of frames with one instrument and filter; NaN where there is none, which stays NaN.
    """
    values = np.asarray(zero_points, dtype=np.float64)
    if not np.isfinite(values).any():
        return np.full(values.shape, np.nan)
    return np.asarray(10 ** (0.4 * (values - np.nanmedian(values))))


def mark_outliers(values: ArrayLike, *, limit: float = 4.0, side: str = "both") -> NDArray[np.bool_]:
    """Return which frames of a night stand out in a number such as zero point, sky or FWHM.

    Parameters
    ----------
    values : array_like, shape (n,)
        One a frame; NaN stands out.
    limit
        Robust deviations from the median; four pass one good frame of 16,000.
    side
        ``both``, ``high`` or ``low``.
    """
    numbers = np.asarray(values, dtype=np.float64)
    lost = ~np.isfinite(numbers)
    if lost.all():
        return lost
    middle = float(np.median(numbers[~lost]))
    spread = MAD_TO_SIGMA * float(np.median(np.abs(numbers[~lost] - middle)))
    away = (numbers - middle) / max(spread, 1e-9 * max(abs(middle), 1.0))
    score = {"both": np.abs(away), "high": away, "low": -away}[side]
    return np.asarray(lost | (np.where(lost, 0.0, score) > limit))


# --- inside -----------------------------------------------------------------------------------------------


def _columns(flux: ArrayLike, *others: object) -> list[FloatArray]:
    first = np.atleast_1d(np.asarray(flux, dtype=np.float64))
    made = [first]
    for number, column in enumerate(others):
        # Without a colour there is none; without an error it is 0.
        default = np.nan if number == 2 else 0.0
        values = np.full(len(first), default) if column is None else np.asarray(column, dtype=np.float64)
        values = np.atleast_1d(values)
        if values.shape != first.shape:
            msg = f"a zero point needs columns of one length, not {len(first)} and {len(values)}"
            raise DataError(msg)
        made.append(np.nan_to_num(values) if number > 2 else values)
    return made


def _terms(away: FloatArray, good: NDArray[np.bool_], known: float | None) -> tuple[FloatArray, float]:
    """Return what is fitted, shape (n, 1 or 2), and the colour term that is taken as known."""
    one = np.ones(len(away))
    if known is None and float(np.std(away[good])) > NARROW:
        return np.stack([one, away], axis=1), 0.0
    return one[:, None], known or 0.0


def _clip_and_fit(
    target: FloatArray,
    terms: FloatArray,
    variance: FloatArray,
    colour_error: FloatArray,
    good: NDArray[np.bool_],
    *,
    fewest: int,
    clip: float,
) -> tuple[NDArray[np.bool_], FloatArray, FloatArray, FloatArray, float]:
    """Return who was used, the coefficients, their covariance, the variances and the extra scatter."""
    middle = float(np.median(target[good]))
    spread = MAD_TO_SIGMA * float(np.median(np.abs(target[good] - middle)))
    scatter = max(spread, 1e-4)
    used = good & (np.abs(target - middle) <= 2 * clip * scatter)
    used = used if int(used.sum()) >= fewest else good
    found, covariance, total = np.zeros(terms.shape[1]), np.eye(terms.shape[1]), variance
    for _ in range(ROUNDS):
        slope = found[1] if len(found) > 1 else 0.0
        total = variance + (slope * colour_error) ** 2
        found, covariance = _solve(target[used], terms[used], total[used] + scatter**2)
        residual = target - terms @ found
        last, scatter = scatter, _extra_scatter(residual[used], total[used])
        sigma = np.sqrt(total + scatter**2)
        with np.errstate(invalid="ignore"):
            pull = np.abs(residual) / np.maximum(sigma, 1e-6)
        wide = max(MAD_TO_SIGMA * float(np.median(pull[used])), 1.0)
        wanted = good & (pull <= clip * wide)
        if int(wanted.sum()) < fewest:
            break
        same, used = bool((wanted == used).all()), wanted
        if same and abs(scatter - last) < SETTLED:
            break
    return used, found, covariance, total, scatter


def _solve(target: FloatArray, terms: FloatArray, variance: FloatArray) -> tuple[FloatArray, FloatArray]:
    weighted = terms / np.maximum(variance, 1e-12)[:, None]
    covariance = np.asarray(np.linalg.pinv(weighted.T @ terms), dtype=np.float64)
    return covariance @ (weighted.T @ target), covariance


def _extra_scatter(residual: FloatArray, variance: FloatArray) -> float:
    """Return s at which the derivative of the likelihood with respect to s^2 vanishes; 0 if errors explain all."""

    def slope(extra: float) -> float:
        total = np.maximum(variance + extra, 1e-12)
        return float(np.sum(1 / total - residual**2 / total**2))

    if slope(0.0) >= 0:
        return 0.0
    return math.sqrt(float(brentq(slope, 0.0, float(np.max(residual**2)) + 1e-9)))


def _zero_point(
    result: tuple[NDArray[np.bool_], FloatArray, FloatArray, FloatArray, float],
    given: tuple[FloatArray, FloatArray],
    terms: FloatArray,
    good: NDArray[np.bool_],
    *,
    pivot: float,
    known: float,
) -> ZeroPoint:
    """Return the fit as it is handed out; a colour term that was given has no error."""
    used, found, covariance, variance, scatter = result
    target, mag = given
    whole = np.zeros((2, 2))
    whole[: len(found), : len(found)] = covariance
    spread = float(np.sum((mag[used] - mag[used].mean()) ** 2))
    residual = (target - terms @ found)[used]
    freedom = max(int(used.sum()) - len(found), 1)
    fitted = len(found) > 1
    return ZeroPoint(
        zero_point=float(found[0]),
        zero_point_error=math.sqrt(float(covariance[0, 0])),
        colour_term=float(found[1]) if fitted else known,
        colour_term_error=math.sqrt(float(covariance[1, 1])) if fitted else math.nan,
        colour_pivot=pivot,
        scatter=scatter,
        rms=float(np.sqrt(np.mean(residual**2))),
        chi2_reduced=float(np.sum(residual**2 / np.maximum(variance[used], 1e-12))) / freedom,
        r2=1 - float(np.sum(residual**2)) / spread if spread > 0 else math.nan,
        covariance=whole,
        n=int(used.sum()),
        rejected=int((good & ~used).sum()),
        used=used,
    )
