"""Light curves of all stars of a night, from the sources of its frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.stats import chi2

from virtualobserver.analysis import Analysis, AnalysisSettings, Requirement
from virtualobserver.config.settings import setting
from virtualobserver.conventions import (
    FLAG_BACKGROUND,
    FLAG_COSMIC_RAY,
    FLAG_EDGE,
    FLAG_SATURATED,
    MASK_COSMIC_RAY,
    MASK_NO_DATA,
    MASK_SATURATED,
)
from virtualobserver.data.contract import AnalysisContract
from virtualobserver.data.handles import Handle, MemoryHandle
from virtualobserver.data.product import Aux, Product, Target
from virtualobserver.data.result import Event, Found, Result
from virtualobserver.data.table import Table
from virtualobserver.data.timeseries import TimeSeries
from virtualobserver.errors import NotEnoughData
from virtualobserver.maths.alignment import align_series
from virtualobserver.maths.ensemble import Ensemble, correct_ensemble

__all__ = ["StarCurves", "StarCurvesSettings"]

FloatArray = NDArray[np.float64]
KIND = "variable"
_RADIUS = 2.0
_BITS = ((MASK_SATURATED, FLAG_SATURATED), (MASK_COSMIC_RAY, FLAG_COSMIC_RAY), (MASK_NO_DATA, FLAG_EDGE))


class StarCurvesSettings(AnalysisSettings):
    """Settings of the light curves of stars."""

    aperture: float | None = setting(
        None, doc="Radius of the aperture, one of those measured; unset = that with the least scatter", unit="pix",
        step="analyse", gt=0,
    )  # fmt: skip
    min_epochs: int = setting(5, doc="Least number of frames a star is seen in", step="analyse", ge=3)
    most: int = setting(500, doc="Stars, the brightest", step="analyse", ge=3)
    comparison: int = setting(100, doc="Comparison stars, those with the highest S/N", step="analyse", ge=3)
    false_alarms: float = setting(
        0.01, doc="Constant stars expected to be called variable in a night", step="analyse", gt=0
    )
    match_radius: float = setting(
        3.0, doc="Within which sources are one star, where positions on the sky are known", unit="arcsec",
        step="analyse", gt=0,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Night:
    """Frames in order of time (number of the handle, table), and the row of each star in each, -1 = not seen."""

    order: list[int]
    tables: list[Table]
    reference: int
    rows: NDArray[np.int64]

    def column(self, name: str) -> FloatArray:
        """Return a column as (stars, frames), NaN where not seen."""
        values = np.full(self.rows.shape, np.nan)
        for number, table in enumerate(self.tables):
            seen = self.rows[:, number] >= 0
            values[seen, number] = np.asarray(table[name], float)[self.rows[seen, number]]
        return values


def _noise(rng: np.random.Generator) -> list[Product]:
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


class StarCurves(Analysis):
    """Light curves of the stars of one night, freed of what all stars of a frame do together.

    Each star becomes a source with a light curve of role ``reduced`` (electrons), which other analyses search.
    Stars that vary more than their errors and the scatter common to all allow are detections of kind
    ``variable``.
    """

    name: ClassVar[str] = "starcurves"
    version: ClassVar[str] = "1"
    requires: ClassVar[tuple[Requirement, ...]] = (Requirement(kind="table", role="sources"),)
    produces: ClassVar[tuple[tuple[str, str], ...]] = (("lightcurve", "reduced"),)
    per: ClassVar[str] = "night"
    batch: ClassVar[int] = 1
    contract: ClassVar[AnalysisContract] = AnalysisContract(false_alarms=0.05, trials=40, noise=_noise)

    Settings: ClassVar[type[AnalysisSettings]] = StarCurvesSettings

    def find(self, products: Sequence[Handle], aux: Aux, settings: StarCurvesSettings) -> Result:
        """Make the light curves of one night.

        Returns
        -------
        Result
            One source and light curve for each star seen in `min_epochs` frames; properties ``n_frames``,
            ``n_stars``, ``aperture`` (pixels) and ``scatter`` (median, relative). Too few frames or stars give
            an empty result.
        """
        night = _night(products, settings)
        if night is None:
            return Result(properties={"n_frames": len(products), "n_stars": 0})
        try:
            radius, curves = _best(night, settings)
        except NotEnoughData as error:
            return Result(properties={"n_frames": len(night.tables), "n_stars": 0, "reason": str(error)})
        made = [_star(night, curves, number, aux) for number in range(len(night.rows))]
        events = [
            event for event in (_vary(night, curves, n, made[n], settings) for n in range(len(made))) if event
        ]
        return Result(
            detections=sorted(events, key=lambda event: (event.peak_mjd, event.source or "")),
            sources=tuple(Found(one.target) for one in made if one.target is not None),
            products=tuple(made),
            properties={
                "n_frames": len(night.tables), "n_stars": len(made), "aperture": radius,
                "scatter": float(np.nanmedian(curves.scatter)),
            },
        )  # fmt: skip

    def draw(
        self, rng: np.random.Generator, products: Sequence[Handle], settings: StarCurvesSettings
    ) -> Mapping[str, Any]:
        """Draw a dip: the star (its row in each table), depth, and when."""
        night = _night(products, settings)
        if night is None:
            msg = f"{len(products)} tables of sources are too few, or too unlike, for light curves"
            raise NotEnoughData(msg)
        star = int(rng.integers(min(len(night.rows), 20)))
        mjd = [float(table.meta["mjd"]) for table in night.tables]
        first = int(rng.integers(len(mjd) - len(mjd) // 3))
        last = first + len(mjd) // 3
        rows = {str(night.order[n]): int(night.rows[star, n]) for n in range(first, last + 1)}
        place = night.tables[night.reference]
        row = int(night.rows[star, night.reference])
        return {
            "t_peak": 0.5 * (mjd[first] + mjd[last]), "start_mjd": mjd[first], "end_mjd": mjd[last],
            "depth": float(rng.uniform(0.05, 0.3)), "rows": rows, "x": float(place["x"][row]),
            "y": float(place["y"][row]),
        }  # fmt: skip

    def inject(
        self,
        products: Sequence[Handle],
        params: Sequence[Mapping[str, Any]],
        rng: np.random.Generator,  # noqa: ARG002 - the photons of a shallow dip change little
    ) -> Sequence[Handle]:
        """Return tables in which the stars' fluxes are lowered."""
        changed = list(products)
        for one in params:
            for number, row in one["rows"].items():
                handle = changed[int(number)]
                if row < 0:
                    continue
                table: Table = handle.load()
                columns = dict(table.columns)
                for radius in table.meta["radii"]:
                    flux = np.array(columns[f"flux_{radius:g}"], float)
                    flux[row] *= 1 - one["depth"]
                    columns[f"flux_{radius:g}"] = flux
                changed[int(number)] = MemoryHandle(replace(table, columns=columns), handle.info)
        return changed

    def recovered(self, params: Mapping[str, Any], event: Event) -> bool:
        """Whether the star called variable is the one that was changed."""
        away = np.hypot(event.parameters["x"] - params["x"], event.parameters["y"] - params["y"])
        return super().recovered(params, event) and bool(away <= _RADIUS)

    def same_event(self, a: Event, b: Event) -> bool:
        """Whether two detections are of one star in overlapping times."""
        return super().same_event(a, b) and a.source == b.source


# --- inside -----------------------------------------------------------------------------------------------


def _night(products: Sequence[Handle], settings: StarCurvesSettings) -> _Night | None:
    """Match the sources of all frames with those of the frame that has most; None if there are too few."""
    tables = [handle.load() for handle in products]
    order = [n for n in range(len(tables)) if len(tables[n]) >= 3 and tables[n].meta.get("mjd") is not None]
    order.sort(key=lambda n: (float(tables[n].meta["mjd"]), n))
    if len(order) < settings.min_epochs:
        return None
    tables = [tables[n] for n in order]
    reference = max(range(len(tables)), key=lambda n: (len(tables[n]), -abs(2 * n - len(tables)), -n))
    number = min(len(tables[reference]), settings.most)
    rows = np.full((number, len(tables)), -1, dtype=np.int64)
    for frame, (predicted, there, radius) in enumerate(_places(tables, reference, number, settings)):
        if len(there):
            away, row = cKDTree(there).query(predicted, distance_upper_bound=radius)
            rows[:, frame] = np.where(np.isfinite(away), row, -1)
    enough = (rows >= 0).sum(axis=1) >= settings.min_epochs
    return _Night(order, tables, reference, rows[enough]) if enough.sum() >= 3 else None


def _places(
    tables: Sequence[Table], reference: int, number: int, settings: StarCurvesSettings
) -> list[tuple[FloatArray, FloatArray, float]]:
    """Return for each frame where the stars should be, where sources are, and how far these may be apart."""
    if all("ra" in table.columns for table in tables):
        centre = float(np.median(tables[reference]["dec"])), float(np.median(tables[reference]["ra"]))
        scale = np.cos(np.radians(centre[0]))

        def plane(table: Table) -> FloatArray:
            east = (table["ra"] - centre[1] + 180.0) % 360.0 - 180.0
            return np.stack([east * scale, table["dec"] - centre[0]], axis=1) * 3600.0

        stars = plane(tables[reference])[:number]
        return [(stars, plane(table), settings.match_radius) for table in tables]
    lists = [np.stack([table["x"], table["y"]], axis=1).astype(float) for table in tables]
    stars = lists[reference][:number]
    found = align_series(lists, reference=reference)
    nothing = np.zeros((0, 2))
    return [
        (stars, nothing, _RADIUS) if one is None else (np.stack(one(*stars.T), axis=1), there, _RADIUS)
        for one, there in zip(found, lists, strict=True)
    ]


def _best(night: _Night, settings: StarCurvesSettings) -> tuple[float, Ensemble]:
    """Return the aperture with the least scatter of the comparison stars, and its light curves."""
    radii = [float(r) for r in night.tables[0].meta["radii"]]
    if settings.aperture is not None:
        radii = [min(radii, key=lambda r: abs(r - float(settings.aperture or 0)))]
    bits = np.nan_to_num(night.column("flags")).astype(np.int64)
    saturated = np.any(bits & MASK_SATURATED, axis=1, keepdims=True)[:, 0]
    found = []
    for radius in radii:
        flux, error = night.column(f"flux_{radius:g}"), night.column(f"flux_error_{radius:g}")
        curves = correct_ensemble(flux, error, exclude=saturated, most=settings.comparison)
        found.append((float(np.nanmedian(curves.scatter[curves.weights > 0])), radius, curves))
    _, radius, curves = min(found, key=lambda one: one[:2])
    return radius, curves


def _star(night: _Night, curves: Ensemble, number: int, aux: Aux) -> Product:
    rows = night.rows[number]
    seen = (rows >= 0) & np.isfinite(curves.flux[number]) & (curves.flux_error[number] > 0)
    bits = np.nan_to_num(night.column("flags")[number][seen]).astype(np.int64)
    flags = np.where(curves.clouded[seen], FLAG_BACKGROUND, 0).astype(np.int64)
    for mask, flag in _BITS:
        flags |= np.where(bits & mask, flag, 0)
    columns = {
        "mjd": np.array([float(table.meta["mjd"]) for table in night.tables])[seen],
        "flux": curves.flux[number][seen],
        "flux_error": curves.flux_error[number][seen],
        "flags": flags,
        "exptime": np.array([float(table.meta["exptime"] or np.nan) for table in night.tables])[seen],
        "x": night.column("x")[number][seen],
        "y": night.column("y")[number][seen],
    }
    meta = night.tables[night.reference].meta
    band, name = str(meta.get("band") or ""), str(meta["header"].get("NIGHT") or "")
    units = {"mjd": "d", "exptime": "s", "x": "pix", "y": "pix"}
    curve = TimeSeries(columns, units, band=band, flux_unit="electron")
    target = _target(night, number, aux, name)
    return Product(
        curve, role="reduced", series="-".join(p for p in (name, band) if p), band=band, target=target
    )


def _target(night: _Night, number: int, aux: Aux, name: str) -> Target:
    """Name a star by its position, or by field, night and pixel where no position is known."""
    table = night.tables[night.reference]
    row = int(night.rows[number, night.reference])
    x, y = float(table["x"][row]), float(table["y"][row])
    if "ra" in table.columns:
        ra, dec = float(table["ra"][row]), float(table["dec"][row])
        return Target(f"S{ra:08.4f}{dec:+08.4f}", ra=ra, dec=dec)
    return Target(f"{aux.target.name}_{name}_x{x:.1f}_y{y:.1f}")


def _vary(
    night: _Night, curves: Ensemble, number: int, product: Product, settings: StarCurvesSettings
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
    chance = float(chi2.sf(float(np.sum(pull**2)), len(flux) - 1)) * len(night.rows)
    if chance > settings.false_alarms:
        return None
    peak = int(np.argmax(np.abs(flux - median) / error))
    target = product.target
    assert target is not None
    table, row = night.tables[night.reference], int(night.rows[number, night.reference])
    return Event(
        kind=KIND, peak_mjd=float(mjd[peak]), start_mjd=float(mjd[0]), end_mjd=float(mjd[-1]),
        snr=float((flux[peak] - median) / error[peak]), score=float(np.sqrt(np.mean(pull**2))), ra=target.ra,
        dec=target.dec, band=product.band, source=target.name,
        parameters={"x": float(table["x"][row]), "y": float(table["y"][row]), "rms": float(np.std(flux) / median)},
    )  # fmt: skip
