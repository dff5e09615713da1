"""The light curves of one night, and the stars that vary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

from virtualobserver.analyses.starcurves.absolute import ensemble_zero_point, in_microjansky
from virtualobserver.analyses.starcurves.apertures import best_curves
from virtualobserver.analyses.starcurves.night import RADIUS, Night, gather_night
from virtualobserver.analyses.starcurves.quality import night_table
from virtualobserver.analyses.starcurves.settings import StarCurvesSettings
from virtualobserver.analysis import Analysis, Requirement
from virtualobserver.conventions import (
    FLAG_BACKGROUND,
    FLAG_COSMIC_RAY,
    FLAG_EDGE,
    FLAG_SATURATED,
    MASK_COSMIC_RAY,
    MASK_LOW_WEIGHT,
    MASK_NO_DATA,
    MASK_SATURATED,
    UNIT_FLUX,
)
from virtualobserver.data.contract import AnalysisContract
from virtualobserver.data.handles import Handle, MemoryHandle
from virtualobserver.data.product import Aux, Product, Target
from virtualobserver.data.result import Event, Found, Result
from virtualobserver.data.table import Table
from virtualobserver.data.timeseries import TimeSeries
from virtualobserver.errors import NotEnoughData
from virtualobserver.maths.lightcurves.ensemble import Ensemble
from virtualobserver.typing import Record, RecordDict

__all__ = ["StarCurves"]

FloatArray = NDArray[np.float64]
KIND: Final = "variable"
_BITS: Final = (
    (MASK_SATURATED, FLAG_SATURATED), (MASK_COSMIC_RAY, FLAG_COSMIC_RAY), (MASK_NO_DATA, FLAG_EDGE),
    (MASK_LOW_WEIGHT, FLAG_BACKGROUND),
)  # fmt: skip
_DRAWN: Final = 20
"""An injection takes one of the brightest stars, whose light curve is surely kept."""


def _noise(rng: np.random.Generator) -> list[Product[Table]]:
    """Return the sources of 12 frames with 30 constant stars, under changing transparency."""
    x, y, mean = rng.uniform(20, 480, 30), rng.uniform(20, 480, 30), rng.uniform(2e4, 2e5, 30)
    made = []
    for number in range(12):
        error = np.sqrt(mean)
        flux = (mean + rng.normal(0, error)) * (1 - 0.05 * rng.random())
        columns = {
            "x": x + 0.5 * number, "y": y - 0.5 * number, "flux_4": flux, "flux_error_4": error,
            "flags": np.zeros(30, np.int64),
        }  # fmt: skip
        meta = {
            "mjd": 58000.0 + number / 100,
            "exptime": 60.0,
            "radii": [4.0],
            "header": {"NIGHT": "n"},
            "band": "R",
        }
        made.append(Product(Table(columns, meta=meta), role="sources", band="R"))
    return made


class StarCurves(Analysis[Table, StarCurvesSettings]):
    """Light curves of the stars of one night, freed of what all stars of a frame do together.

    Each star becomes a source with a light curve of role ``reduced`` (electrons or µJy), which other analyses search: a
    star of a reference catalogue under the catalogue's name and its number there, a target of the configuration
    under its own, any other by its position. Stars that vary more than their errors and the scatter common to
    all allow are detections of kind ``variable``. A table of role ``night`` says how good each frame is.
    """

    name: ClassVar[str] = "starcurves"
    version: ClassVar[str] = "5"
    requires: ClassVar[tuple[Requirement, ...]] = (
        Requirement(kind="table", role="sources"),
        Requirement(kind="table", role="forced"),
        Requirement(kind="table", role="zeropoint"),
    )
    requires_any: ClassVar[bool] = True
    produces: ClassVar[tuple[tuple[str, str], ...]] = (("lightcurve", "reduced"), ("table", "night"))
    per: ClassVar[str] = "night"
    strength: ClassVar[tuple[str, ...]] = ("depth",)
    axes: ClassVar[Mapping[str, str]] = {"depth": "depth [share of the light]"}
    batch: ClassVar[int] = 1
    contract: ClassVar[AnalysisContract] = AnalysisContract(false_alarms=0.05, trials=40, noise=_noise)

    def find(self, products: Sequence[Handle[Table]], aux: Aux, settings: StarCurvesSettings) -> Result:
        """Make the light curves of one night.

        Returns
        -------
        Result
            One source and light curve for each star seen in `min_epochs` frames, whose facts hold its ``aperture``;
            properties ``n_frames``, ``n_stars``, ``aperture`` (pixels, median of the stars), ``scatter`` (median,
            relative), and of the frames with a zero point ``limiting_magnitude`` (median). Too few frames or stars
            give an empty result.
        """
        night = gather_night(products, settings)
        if night is None:
            return Result(properties={"n_frames": len(products), "n_stars": 0})
        try:
            radii, curves = best_curves(night, settings)
        except NotEnoughData as error:
            return Result(properties={"n_frames": len(night.frames), "n_stars": 0, "reason": str(error)})
        zero = ensemble_zero_point(night, curves) if settings.unit == UNIT_FLUX else None
        if zero is None and settings.unit == UNIT_FLUX:
            aux.note("nights without enough magnitudes for fluxes in microjansky: curves are in electrons")
        facts: RecordDict = {}
        if zero is not None:
            curves = in_microjansky(curves, zero)
            facts = {name: value for name, value in zero.statistics().items() if np.isfinite(value)}
            facts["colour_pivot"] = zero.colour_pivot
        stars = np.flatnonzero(_bright(curves, settings)).tolist()
        columns = {name: night.column(name) for name in ("flags", "x", "y")}
        made = [
            _star(night, curves, columns, number, aux, facts={"aperture": float(radii[number])} | facts)
            for number in stars
        ]
        events = [
            event
            for number, product in zip(stars, made, strict=True)
            if (event := _vary(night, curves, number, product, settings))
        ]
        frames = night_table(night, curves, products)
        properties = {
            "n_frames": len(night.frames), "n_stars": len(made),
            "aperture": float(np.median(radii[stars])) if stars else None,
            "scatter": float(np.nanmedian(curves.scatter)), **facts,
        }  # fmt: skip
        return Result(
            detections=sorted(events, key=lambda event: (event.peak_mjd, event.source or "")),
            sources=tuple(Found(one.target) for one in made if one.target is not None),
            products=(*made, frames),
            properties=properties | {"limiting_magnitude": frames.statistics["limiting_magnitude"]},
        )

    def draw(
        self, rng: np.random.Generator, products: Sequence[Handle[Table]], settings: StarCurvesSettings
    ) -> Record:
        """Draw a dip: the star (its row in each table), depth, and when."""
        night = gather_night(products, settings)
        if night is None:
            msg = f"{len(products)} tables of sources are too few, or too unlike, for light curves"
            raise NotEnoughData(msg)
        star = int(rng.integers(min(len(night.rows), _DRAWN)))
        mjd = night.mjd
        first = int(rng.integers(len(mjd) - len(mjd) // 3))
        last = first + len(mjd) // 3
        rows = {}
        for frame, row in zip(
            night.frames[first : last + 1], night.rows[star, first : last + 1], strict=True
        ):
            if row >= 0:
                rows[str(frame.handle[row])] = int(frame.row[row])
        return {
            "t_peak": 0.5 * (mjd[first] + mjd[last]), "start_mjd": mjd[first], "end_mjd": mjd[last],
            "depth": float(rng.uniform(0.05, 0.3)), "rows": rows, "x": float(night.fact(star, "x")),
            "y": float(night.fact(star, "y")),
        }  # fmt: skip

    def inject(
        self,
        products: Sequence[Handle[Table]],
        params: Sequence[Record],
        rng: np.random.Generator,  # noqa: ARG002 - the photons of a shallow dip change little
    ) -> Sequence[Handle[Table]]:
        """Return tables in which the stars' fluxes are lowered."""
        changed = list(products)
        for one in params:
            for number, row in one["rows"].items():
                handle = changed[int(number)]
                table: Table = handle.load()
                columns = dict(table.columns)
                for radius in table.meta["radii"]:
                    flux = np.array(columns[f"flux_{radius:g}"], float)
                    flux[row] *= 1 - one["depth"]
                    columns[f"flux_{radius:g}"] = flux
                changed[int(number)] = MemoryHandle(replace(table, columns=columns), handle.info)
        return changed

    def covered(self, params: Record, products: Sequence[Handle[Table]]) -> bool:  # noqa: ARG002
        """Whether the star was measured in any frame of the dip."""
        return bool(params["rows"])

    def recovered(self, params: Record, event: Event) -> bool:
        """Whether the star called variable is the one that was changed."""
        away = np.hypot(event.parameters["x"] - params["x"], event.parameters["y"] - params["y"])
        return super().recovered(params, event) and bool(away <= RADIUS)

    def same_event(self, a: Event, b: Event) -> bool:
        """Whether two detections are of one star in overlapping times."""
        return super().same_event(a, b) and a.source == b.source


# --- inside -----------------------------------------------------------------------------------------------


def _bright(curves: Ensemble, settings: StarCurvesSettings) -> NDArray[np.bool_]:
    """Return which stars have a light curve: measured often enough, and well enough in the median frame."""
    with np.errstate(invalid="ignore", divide="ignore"):
        snr = curves.flux / curves.flux_error
    measured = np.isfinite(snr)
    typical = np.array(
        [np.median(row[good]) if good.any() else 0.0 for row, good in zip(snr, measured, strict=True)]
    )
    return np.asarray((measured.sum(axis=1) >= settings.min_epochs) & (typical >= settings.min_snr))


def _star(
    night: Night,
    curves: Ensemble,
    measured: Mapping[str, FloatArray],
    number: int,
    aux: Aux,
    *,
    facts: Record,
) -> Product[TimeSeries]:
    rows = night.rows[number]
    seen = (rows >= 0) & np.isfinite(curves.flux[number]) & (curves.flux_error[number] > 0)
    bits = np.nan_to_num(measured["flags"][number][seen]).astype(np.int64)
    flags = np.where(curves.clouded[seen], FLAG_BACKGROUND, 0).astype(np.int64)
    for mask, flag in _BITS:
        flags |= np.where(bits & mask, flag, 0)
    columns = {
        "mjd": night.mjd[seen],
        "flux": curves.flux[number][seen],
        "flux_error": curves.flux_error[number][seen],
        "flags": flags,
        "exptime": np.array([float(frame.meta["exptime"] or np.nan) for frame in night.frames])[seen],
        "x": measured["x"][number][seen],
        "y": measured["y"][number][seen],
    }
    frame = night.frames[night.first[number, 0]]
    band, name = str(frame.meta.get("band") or ""), str(frame.header.get("NIGHT") or "")
    units = {"mjd": "d", "exptime": "s", "x": "pix", "y": "pix"}
    unit = UNIT_FLUX if "zero_point" in facts else "electron"
    curve = TimeSeries(columns, units, facts, band=band, flux_unit=unit)
    target = _target(night, number, aux, name)
    return Product(
        curve, role="reduced", series="-".join(p for p in (name, band) if p), band=band, target=target
    )


def _target(night: Night, number: int, aux: Aux, name: str) -> Target:
    """Name a star by its catalogue, else by its position, else by field, night and pixel."""
    key, ra, dec, mag = (night.fact(number, fact) for fact in ("key", "ra", "dec", "mag"))
    if key:
        bright = float(mag) if np.isfinite(mag) else None
        return Target(str(key), ra=float(ra), dec=float(dec), mag=bright)
    if np.isfinite(ra):
        return Target(f"S{ra:08.4f}{dec:+08.4f}", ra=float(ra), dec=float(dec))
    x, y = night.fact(number, "x"), night.fact(number, "y")
    return Target(f"{aux.target.name}_{name}_x{x:.1f}_y{y:.1f}")


def _vary(
    night: Night, curves: Ensemble, number: int, product: Product[TimeSeries], settings: StarCurvesSettings
) -> Event | None:
    """Return the detection of a star that varies, None for a constant one."""
    curve: TimeSeries = product.data
    good = curve.flags == 0
    if good.sum() < settings.min_epochs:
        return None
    flux, mjd = curve.flux[good], curve.mjd[good]
    typical = float(np.nanmedian(curves.excess[curves.weights > 0]))
    median = float(np.median(flux))
    error = np.hypot(curve.flux_error[good], typical * median)
    pull = (flux - np.average(flux, weights=error**-2)) / error
    chance = float(chdtrc(len(flux) - 1, float(np.sum(pull**2)))) * len(night.rows)
    if chance > settings.false_alarms:
        return None
    peak = int(np.argmax(np.abs(flux - median) / error))
    target = product.target
    assert target is not None
    x, y = float(night.fact(number, "x")), float(night.fact(number, "y"))
    return Event(
        kind=KIND, peak_mjd=float(mjd[peak]), start_mjd=float(mjd[0]), end_mjd=float(mjd[-1]),
        snr=float((flux[peak] - median) / error[peak]), score=float(np.sqrt(np.mean(pull**2))), ra=target.ra,
        dec=target.dec, band=product.band, source=target.name,
        parameters={"x": x, "y": y, "rms": float(np.std(flux) / median)},
    )  # fmt: skip
