"""Sheets of one chip of one exposure: apertures, reference stars, pointed and drift frame, residuals of positions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.conventions import MAD_TO_SIGMA
from virtualobserver.data.handles import Handle
from virtualobserver.data.panels import Axis, Curve, Facts, ImageStack, Mark, Panel, Series
from virtualobserver.data.product import RawRef
from virtualobserver.data.table import Table
from virtualobserver.errors import VirtualObserverError
from virtualobserver.maths.trails.detrend import detrend
from virtualobserver.maths.trails.sky import INNER
from virtualobserver.observatories.decam.astrometry import register
from virtualobserver.observatories.decam.catalogue import choose_masters
from virtualobserver.observatories.decam.detrend import samples_of
from virtualobserver.observatories.decam.pictures import box_of, straighten, tables_of, track_of
from virtualobserver.observatories.decam.reader import read_box, read_frame
from virtualobserver.observatories.decam.settings import DECamSettings
from virtualobserver.observatories.decam.tables import RADIUS

__all__ = ["sheets"]

FloatArray = NDArray[np.float64]
_STARS: Final = 4
"""Stars of the sheet of apertures: more are too small to judge."""
_CUTOUTS: Final = 12
"""Reference stars with an image; all of them have a curve."""
_SIDE: Final = 150
"""Pixels of the side of the part in which two frames are compared."""
_LONG: Final = 0.03
"""Of the frame's side: length of the arrow of a residual of `_UNIT`."""
_UNIT: Final = 0.5
"""Pixels of the arrow that says how long arrows are."""
_HALF_ROWS: Final = RADIUS + 0.5
"""Of the aperture of the published light curves, to the edges of its pixels."""

Sheet = tuple[str, Callable[[], list[Panel]]]
"""A title, and what makes the panels: some read a whole frame, and one is looked at."""


def sheets(
    raws: Sequence[RawRef], products: Sequence[Handle[Table]], settings: DECamSettings
) -> dict[str, Sheet]:
    """Return the sheets of the first unit that was measured, by name.

    Parameters
    ----------
    raws
        Raw data of units and masters.
    products
        What was made of them.
    """
    units = sorted({str(one.info.unit) for one in products if one.info.role == "wcs"})
    if not units:
        return {}
    unit = units[0]
    measured = [one for one in products if str(one.info.unit) == unit]
    own = [raw for raw in raws if _unit(raw) == unit]
    make: dict[str, Callable[[], list[Panel]]] = {
        "apertures": lambda: _apertures(own, tables_of(measured), settings),
        "references": lambda: _references(own, tables_of(measured), settings),
        "pointed": lambda: _pointed(own, raws, products, tables_of(measured)),
        "residuals": lambda: _residuals(own, products, settings),
    }
    return {name: (f"{unit}: {_TITLES[name]}", one) for name, one in make.items()}


_TITLES: Final = {
    "apertures": "apertures and rings of sky",
    "references": "reference stars",
    "pointed": "the pointed and the drift frame",
    "residuals": "trails against the fitted world coordinates",
}


# --- inside -----------------------------------------------------------------------------------------------


def _unit(raw: RawRef) -> str:
    from virtualobserver.observatories.decam.catalogue import unit_of

    return unit_of(raw.header)


def _why(title: str, error: Exception) -> list[Panel]:
    return [Facts(title, [], f"the raw frame cannot be read, and no pixels are kept: {error}")]


def _apertures(raws: Sequence[RawRef], tables: dict[str, Table], settings: DECamSettings) -> list[Panel]:
    """Return cut-outs of bright stars that are alone, with what is summed and where the sky is."""
    forced, meta = tables["forced"], tables["samples"].meta
    track = track_of(meta)
    fine = np.flatnonzero((forced["flags"] == 0) & (forced["isolation"] < 1))
    rows = fine[np.argsort(-np.asarray(forced["snr"], float)[fine], kind="stable")][:_STARS]
    inner = settings.drift_skysub.radius or INNER * float(meta["fwhm"])
    outer = inner + settings.drift_skysub.pad
    panels: list[Panel] = []
    for row in rows.tolist():
        ends = [np.array([forced[f"{axis}_start"][row], forced[f"{axis}_end"][row]], float) for axis in "xy"]
        (ny, nx) = meta["shape"]
        box = box_of(ends[0], ends[1], int(np.ceil(outer)) + 6, (ny, nx))
        try:
            data, bits = read_box(raws, *box, float(meta["gain"]))
        except (VirtualObserverError, OSError) as error:
            return _why("apertures", error)
        y, x = np.mgrid[box[0], box[1]]
        along, across = (turn(x - ends[0][0], y - ends[1][0]) for turn in (track.along, track.across))
        away = np.hypot(along - np.clip(along, 0, track.length), across)
        masks = {
            "summed by box": (np.abs(across) <= _HALF_ROWS) & (along > -0.5) & (along < track.length + 0.5),
            "sky": (away > inner) & (away <= outer),
        }
        if (bits != 0).any():
            masks["masked"] = bits != 0
        (top, left) = box[0].start, box[1].start
        panels.append(
            ImageStack(
                f"star {forced['source_id'][row]}, {forced['mag'][row]:.2f} mag", data[None],
                [f"S/N {forced['snr'][row]:.0f}, sky {forced['sky'][row]:.1f} ± {forced['sky_error'][row]:.1f} e"],
                masks=masks, extent=(left - 0.5, left + data.shape[1] - 0.5, top - 0.5, top + data.shape[0] - 0.5),
                value=Axis("counts", "electron"),
            )
        )  # fmt: skip
    return panels or [Facts("apertures", [], "no star is bright, unmasked and alone")]


def _references(raws: Sequence[RawRef], tables: dict[str, Table], settings: DECamSettings) -> list[Panel]:
    """Return the curves of the reference stars before and after detrending, and their images."""
    samples, forced, own = samples_of(tables["samples"], tables["forced"]), tables["forced"], settings.detrend
    found = detrend(samples, mode=own.mode, radius=own.radius, fewest=own.fewest)
    rows = found.references
    if not len(rows):
        return [Facts("reference stars", [], "no star is bright, clean and alone")]
    good = samples.flat[rows] & (samples.flags[rows] == 0)
    flux = np.where(good, samples.flux[rows], np.nan)
    sets = flux / np.nanmedian(flux, axis=1)[:, None], np.where(good, found.relative[rows], np.nan)
    before, after = (
        [
            Curve("", when, y, style="line", colour="data")
            for when, y in zip(samples.time[rows], values, strict=True)
        ]
        for values in sets
    )
    best = int(rows[np.argmax(samples.totals.snr[rows])])
    common = Curve(
        f"common mode, of star {forced['source_id'][best]}", samples.time[best],
        np.where(samples.flat[best], found.trend[best], np.nan), style="line", colour="event",
    )  # fmt: skip
    said = [
        f"scatter of the middle star {100 * float(np.median(MAD_TO_SIGMA * _mad(values))):.2f} %"
        for values in sets
    ]
    method = f"method {found.mode}" if found.detrended.any() else "nothing was divided by"
    time = Axis("time since the shutter opened", "s", limits=(0.0, float(tables["samples"].meta["exptime"])))
    panels: list[Panel] = [
        Series(
            f"{len(rows)} reference stars as measured", time, Axis("flux over median"), [*before, common], note=said[0]
        ),
        Series(
            "without the common mode", time, Axis("flux over mean and common mode"), after,
            note=f"{said[1]}; {method}",
        ),
    ]  # fmt: skip
    return [*panels, _cutouts(raws, tables, rows)]


def _mad(values: FloatArray) -> FloatArray:
    middle = np.nanmedian(values, axis=1)[:, None]
    return np.asarray(np.nanmedian(np.abs(values - middle), axis=1))


def _cutouts(raws: Sequence[RawRef], tables: dict[str, Table], rows: NDArray[np.int64]) -> Panel:
    forced, meta = tables["forced"], tables["samples"].meta
    bright = rows[np.argsort(-np.asarray(forced["snr"], float)[rows], kind="stable")][:_CUTOUTS]
    try:
        cuts = [
            straighten(raws, meta, float(forced["x_start"][row]), float(forced["y_start"][row]))
            for row in bright
        ]
    except (VirtualObserverError, OSError) as error:
        return Facts("images of reference stars", [], f"the raw frame cannot be read: {error}")
    images = [cut.data - forced["sky"][row] for cut, row in zip(cuts, bright, strict=True)]
    peaks = [max(float(np.nanpercentile(image, 99)), 1.0) for image in images]
    return ImageStack(
        "the brightest of them, straightened", np.stack([i / p for i, p in zip(images, peaks, strict=True)]),
        [f"…{forced['source_id'][row] % 1_000_000:06d}, {forced['mag'][row]:.2f} mag" for row in bright.tolist()],
        Axis("along", "pix"), Axis("across", "pix"), extent=cuts[0].extent,
        value=Axis("over its peak", limits=(-0.1, 1.0)),
    )  # fmt: skip


def _reference(products: Sequence[Handle[Table]], raws: Sequence[RawRef]) -> Handle[Table] | None:
    masters = [one for one in products if one.info.role == "master"]
    return choose_masters(masters, raws[0].header).get("reference") if raws else None


def _pointed(
    own: Sequence[RawRef], raws: Sequence[RawRef], products: Sequence[Handle[Table]], tables: dict[str, Table]
) -> list[Panel]:
    """Return one part of the sky in both frames with the stars of the catalogue, and their magnitudes."""
    forced, meta = tables["forced"], tables["samples"].meta
    master = _reference(products, own)
    light = _magnitudes(forced, meta["exptime"])
    if master is None:
        return [Facts("pointed frame", [], "the catalogue is not there any more"), light]
    stars = master.load()
    ids = np.asarray(stars["star_id"])
    at = {int(number): row for row, number in enumerate(ids.tolist())}
    known = np.array([int(number) in at for number in forced["source_id"].tolist()])
    middle = np.array([meta["shape"][1], meta["shape"][0]]) / 2
    near = np.hypot(forced["x"] - middle[0], forced["y"] - middle[1])
    fine = np.flatnonzero(known & np.asarray(forced["detected"], bool))
    if not len(fine):
        return [Facts("pointed frame", [], "no star of the catalogue was found"), light]
    row = int(fine[np.argmin(near[fine])])
    star = at[int(forced["source_id"][row])]
    centre = float(stars["x"][star]), float(stars["y"][star])
    frame = [raw for raw in raws if _unit(raw) == str(master.info.unit)]
    pointed = _part(frame, "the pointed frame", centre, 1.0, [
        Mark("box", x=x - 4, x_end=x + 4, y=y - 4, y_end=y + 4, colour="event")
        for x, y in zip(stars["x"].tolist(), stars["y"].tolist(), strict=True) if _inside(x, y, centre)
    ])  # fmt: skip
    begin = float(forced["x_start"][row]), float(forced["y_start"][row])
    trails = [
        Mark(
            "box", x=min(a, b) - 3, x_end=max(a, b) + 3, y=min(c, d) - 4, y_end=max(c, d) + 4, colour="event"
        )
        for a, b, c, d in zip(
            *(forced[name].tolist() for name in ("x_start", "x_end", "y_start", "y_end")), strict=True
        )
        if np.isfinite(a + b + c + d) and _inside(np.clip(begin[0], min(a, b), max(a, b)), (c + d) / 2, begin)
    ]
    drift = _part(own, "the drift frame, boxes from opening to closing", begin, float(meta["gain"]), trails)
    return [pointed, drift, light]


def _inside(x: float, y: float, centre: tuple[float, float]) -> bool:
    """Whether a place is in the part of a frame that is shown, or beside it by less than half a star."""
    return max(abs(x - centre[0]), abs(y - centre[1])) < _SIDE / 2 + 2


def _part(
    raws: Sequence[RawRef], title: str, centre: tuple[float, float], gain: float, marks: list[Mark]
) -> Panel:
    try:
        shape = (int(1e6), int(1e6))
        rows, cols = box_of(np.array([centre[0]]), np.array([centre[1]]), _SIDE // 2, shape)
        data, _ = read_box(raws, rows, cols, gain)
    except (VirtualObserverError, OSError) as error:
        return Facts(title, [], f"it cannot be read: {error}")
    extent = (
        cols.start - 0.5,
        cols.start + data.shape[1] - 0.5,
        rows.start - 0.5,
        rows.start + data.shape[0] - 0.5,
    )
    return ImageStack(title, data[None], ["with the stars of the catalogue"], marks=[marks], extent=extent,
                      value=Axis("counts"))  # fmt: skip


def _magnitudes(forced: Table, exptime: float) -> Series:
    """Return how bright trails are against the catalogue."""
    flux = np.asarray(forced[f"flux_{RADIUS}"], float) / float(exptime)
    error = np.asarray(forced[f"flux_error_{RADIUS}"], float) / float(exptime)
    good = (flux > 0) & np.isfinite(error) & np.isfinite(forced["mag"])
    mag = np.asarray(forced["mag"], float)[good]
    instrumental = -2.5 * np.log10(flux[good])
    spread = 2.5 / np.log(10) * error[good] / flux[good]
    zero = mag - instrumental
    bright = spread < 0.1
    level = float(np.median(zero[bright if bright.any() else slice(None)])) if len(zero) else 0.0
    ends = (level - 1.5, level + 1.5)
    return Series(
        "light of the trails against the catalogue", Axis("catalogue", "mag", scale="magnitude"),
        Axis("catalogue less instrumental (1 electron/s)", "mag", limits=ends),
        [Curve("", mag, zero, spread, flags=np.asarray(forced["flags"])[good] != 0, colour="data")],
        [Mark("line", y=level, label=f"{level:.2f}")],
        note=f"hollow: masked, cut or blended; {int((np.abs(zero - level) > 1.5).sum())} stars are outside",
    )  # fmt: skip


def _residuals(
    raws: Sequence[RawRef], products: Sequence[Handle[Table]], settings: DECamSettings
) -> list[Panel]:
    """Return how far trails begin from where the fitted world coordinates have their stars."""
    master = _reference(products, raws)
    if master is None:
        return [Facts("residuals", [], "the catalogue, or the raw frame, is not there any more")]
    try:
        frame = read_frame(raws)
        found = register(frame, master.load(), settings.drift_astrom)
    except (VirtualObserverError, OSError) as error:
        return _why("residuals", error)
    trails, stars = found.trails.take(found.match.trail), found.match.star
    (vx, vy), half = found.track.vector, found.track.exptime / 2
    x, y = found.x[stars], found.y[stars]
    dx, dy = trails.x - vx * half - x, trails.y - vy * half - y
    (ny, nx) = frame.shape
    scale = _LONG * max(nx, ny) / _UNIT
    arrows = [
        Mark(
            "line",
            x=float(a),
            x_end=float(a + scale * b),
            y=float(c),
            y_end=float(c + scale * d),
            colour="event",
        )
        for a, b, c, d in zip(x, dx, y, dy, strict=True)
    ]
    foot = 0.04 * nx, -0.12 * ny  # so low that its name is below the frame
    arrows.append(
        Mark(
            "line",
            x=foot[0],
            x_end=foot[0] + scale * _UNIT,
            y=foot[1],
            y_end=foot[1],
            label=f"{_UNIT:g} pix",
            colour="model",
        )
    )
    rms = [float(np.sqrt(np.mean(part**2))) for part in (dx, dy)]
    return [
        Series(
            "trails less fit, drawn out", Axis("x", "pix", limits=(-0.02 * nx, 1.02 * nx)),
            Axis("y", "pix", limits=(-0.16 * ny, 1.02 * ny)), [Curve("", x, y, colour="data")], arrows, equal=True,
            note=f"{len(x)} trails; rms {rms[0]:.2f} pix along x, {rms[1]:.2f} pix along y",
        ),
        Series(
            "residuals", Axis("along x", "pix"), Axis("along y", "pix"), [Curve("", dx, dy, colour="data")],
            [Mark("line", x=0.0), Mark("line", y=0.0)], equal=True,
        ),
    ]  # fmt: skip
