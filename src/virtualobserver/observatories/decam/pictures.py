"""Pixels of trails, cut from the raw frame when someone looks: the reduction keeps none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from virtualobserver.data.handles import Handle
from virtualobserver.data.panels import Axis, Facts, ImageStack, Mark, Panel
from virtualobserver.data.product import RawRef
from virtualobserver.data.result import Event
from virtualobserver.data.table import Table
from virtualobserver.errors import VirtualObserverError
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.trails.track import TrackModel
from virtualobserver.observatories.decam.reader import read_box
from virtualobserver.typing import Record

__all__ = ["Straight", "straighten", "tables_of", "track_of", "trail_panels"]

FloatArray = NDArray[np.float64]
TITLE: Final = "trail, straightened"
_BEYOND: Final = 12
"""Pixels shown before and after a trail: the sky that its ends are told from."""
_HALF: Final = 12
"""Pixels shown to each side: the wings of a star in bad seeing, and who is beside it."""
_TELLS: Final = 3.0
"""Standard deviations from which on a trail is beside its star: of a faint one the samples tell nothing."""
_TICK: Final = 5.0
"""Seconds from one mark of time to the next."""


class Straight:
    """A trail turned so that it runs along x, shape (2 `_HALF` + 1, n): electrons and masked pixels.

    Values between pixels are linear ones: others ring beside cosmic rays and dead columns.
    """

    def __init__(self, data: FloatArray, mask: NDArray[np.bool_], along: FloatArray) -> None:
        self.data, self.mask, self.along = data, mask, along

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Borders, pixels along from where the star is when the shutter opens, and across."""
        return float(self.along[0] - 0.5), float(self.along[-1] + 0.5), -_HALF - 0.5, _HALF + 0.5


def tables_of(products: Sequence[Handle[Table]]) -> dict[str, Table]:
    """Return the tables of one unit by role."""
    return {handle.info.role: handle.load() for handle in products if handle.info.kind == "table"}


def track_of(meta: Record) -> TrackModel:
    """Return the track of a chip from what its tables say."""
    return TrackModel(
        float(meta["rate"]), float(meta["exptime"]), float(meta["scale"]), float(meta["angle"]), int(meta["direction"]),
        float(meta["shutter_offset"]),
    )  # fmt: skip


def straighten(raws: Sequence[RawRef], meta: Record, x: float, y: float) -> Straight:
    """Return the trail of a star that is at a pixel when the shutter opens, cut from the raw frame.

    Raises
    ------
    DataError
        If the raw data cannot be read.
    OSError
        If a file is gone.
    """
    track = track_of(meta)
    along = np.arange(-_BEYOND, np.ceil(track.length) + _BEYOND + 1)
    across = np.arange(-_HALF, _HALF + 1.0)
    ux, uy = (part / track.speed for part in track.vector)
    px, py = x + along * ux - across[:, None] * uy, y + along * uy + across[:, None] * ux
    ny, nx = meta["shape"]
    rows, cols = (
        slice(int(np.clip(np.floor(p.min()) - 1, 0, n - 1)), int(np.clip(np.ceil(p.max()) + 2, 1, n)))
        for p, n in ((py, ny), (px, nx))
    )
    data, bits = read_box(raws, rows, cols, float(meta["gain"]))
    at = np.stack((py - rows.start, px - cols.start))
    turned = map_coordinates(data.astype(float), at, order=1, cval=np.nan)
    masked = map_coordinates((bits != 0).astype(float), at, order=0, cval=0.0) > 0
    return Straight(np.asarray(turned, float), masked, along)


def trail_panels(
    raws: Sequence[RawRef],
    products: Sequence[Handle[Table]],
    searched: Handle[Table],
    event: Event,
    *,
    told: bool = True,
) -> list[Panel]:
    """Return the image of the trail of an event, or of the place of a spot; facts that say why if there is none.

    Of an injected event the light is added that was put into its samples or makes it a spot, spread as the star's is;
    if it may be told, the image as it was taken comes behind.
    """
    tables = tables_of(products)
    place = _place(tables, event)
    if place is None:
        return []
    meta = tables["samples"].meta
    x, y, sky = place
    try:
        cut = straighten(raws, meta, x, y)
    except (VirtualObserverError, OSError) as error:
        return [Facts(TITLE, [], f"the raw frame cannot be read, and no pixels are kept: {error}")]
    taken = cut.data - (np.nanmedian(cut.data) if not np.isfinite(sky) else sky)
    images, labels = [taken], [f"exposure {meta['exposure']}, CCD {meta['ccd']}"]
    added = _put_in(tables, searched, event, cut)
    if added is not None:
        images, labels = [taken + added], [labels[0]]
        if told:
            images.append(taken)
            labels = [f"{labels[0]}, with what was put in", "as it was taken"]
    return [_panel(cut, images, labels, event, tables)]


# --- inside -----------------------------------------------------------------------------------------------


def _place(tables: Mapping[str, Table], event: Event) -> tuple[float, float, float] | None:
    """Return where a star is when the shutter opens, and the sky there; a spot stands in the middle."""
    facts, forced = event.parameters, tables.get("forced")
    if forced is None or "samples" not in tables:
        return None
    if "trail" in facts and int(facts["trail"]) < len(forced):
        row = int(facts["trail"])
        return float(forced["x_start"][row]), float(forced["y_start"][row]), float(forced["sky"][row])
    if "x" in facts and "y" in facts:
        track = track_of(tables["samples"].meta)
        (vx, vy), half = track.vector, track.exptime / 2
        return float(facts["x"]) - vx * half, float(facts["y"]) - vy * half, np.nan
    return None


def _put_in(
    tables: Mapping[str, Table], searched: Handle[Table], event: Event, cut: Straight
) -> FloatArray | None:
    """Return the electrons that were injected into the samples of a trail, or as a spot; None if nothing was."""
    stored = tables.get(searched.info.role)
    if stored is not None and searched.info.role == "spots":
        return _flash(stored, event, cut)
    if stored is None or "trail" not in event.parameters:
        return None
    changed = searched.load()
    if len(changed) != len(stored) or np.array_equal(changed["flux"], stored["flux"], equal_nan=True):
        return None
    meta = stored.meta
    own = np.flatnonzero(np.asarray(stored["trail"]) == int(event.parameters["trail"]))
    light = np.nan_to_num(np.asarray(changed["flux"][own] - stored["flux"][own], float)) / float(
        meta["speed"]
    )
    along = track_of(meta).along_of(np.asarray(stored["time"][own], float))
    order = np.argsort(along)
    columns = np.interp(cut.along, along[order], light[order], left=0.0, right=0.0)
    sigma = float(meta["sigma"])
    across = np.arange(-_HALF, _HALF + 1.0)
    form = np.exp(-0.5 * (across / sigma) ** 2)
    return np.asarray(form[:, None] / form.sum() * columns)


def _flash(stored: Table, event: Event, cut: Straight) -> FloatArray | None:
    """Return the electrons of a spot that the frame has not, as its middle is drawn: half a trail along."""
    x, y = (float(event.parameters[axis]) for axis in "xy")
    if np.any((stored["x"] == x) & (stored["y"] == y)):
        return None
    sigma, middle = float(stored.meta["sigma"]), track_of(stored.meta).length / 2
    across = np.exp(-0.5 * (np.arange(-_HALF, _HALF + 1.0) / sigma) ** 2)
    along = np.exp(-0.5 * ((cut.along - middle) / sigma) ** 2)
    light = float(event.parameters["flux"]) / (2 * np.pi * sigma**2)
    return np.asarray(light * across[:, None] * along)


def _panel(
    cut: Straight, images: list[FloatArray], labels: list[str], event: Event, tables: Mapping[str, Table]
) -> ImageStack:
    meta = tables["samples"].meta
    track = track_of(meta)
    star = "trail" in event.parameters
    marks = [
        Mark("line", x=float(track.along_of(time)), colour="context")
        for time in np.arange(0.0, track.exptime + 1e-6, _TICK)
        if star
    ]
    sigma = float(meta["sigma"])
    if star:
        middle = float(track.along_of(float(event.parameters["time"])))
        half = max(0.5 * float(event.parameters.get("duration") or 0.0) * track.speed, 2 * sigma)
        title = TITLE
    else:
        middle, half, title = (
            track.length / 2,
            3 * sigma,
            "the spot, and where its star may have drawn a trail",
        )
    aside = _aside(tables["samples"], int(event.parameters["trail"])) if star else 0.0
    marks.append(
        Mark("box", x=middle - half, x_end=middle + half, y=aside - 3 * sigma, y_end=aside + 3 * sigma)
    )
    every = f"; lines every {_TICK:g} s" if star else ""
    beside = "along the trail" if star else "along the track"
    return ImageStack(
        title, np.stack(images), labels,
        Axis(f"{beside}, {1 / track.speed:.3f} s a pixel{every}", "pix"), Axis("across", "pix"),
        [marks] * len(images), masks={"masked": cut.mask} if cut.mask.any() else {}, extent=cut.extent,
        value=Axis("above the sky", "electron"), note=f"turned by {-track.angle:.2f}°",
    )  # fmt: skip


def _aside(samples: Table, trail: int) -> float:
    """Return pixels across from where the catalogue has a star to its trail, by its samples; 0 if they tell nothing.

    A dip has no light that shows where it is.
    """
    if "shift" not in samples:
        return 0.0
    mine = np.asarray(samples["trail"]) == trail
    value, error = (np.asarray(samples[name], float)[mine] for name in ("shift", "shift_error"))
    known = np.isfinite(value) & (error > 0)
    if not known.any():
        return 0.0
    weight = 1 / error[known] ** 2
    mean, noise = float(np.average(value[known], weights=weight)), float(1 / np.sqrt(weight.sum()))
    return mean if abs(mean) > _TELLS * noise else 0.0


def box_of(x: Array, y: Array, margin: int, shape: tuple[int, int]) -> tuple[slice, slice]:
    """Return rows and columns about some places, cut at the edges of the chip."""
    (ny, nx), (left, right) = shape, (float(np.min(x)), float(np.max(x)))
    low, high = float(np.min(y)), float(np.max(y))
    return (
        slice(int(np.clip(low - margin, 0, ny - 1)), int(np.clip(high + margin + 1, 1, ny))),
        slice(int(np.clip(left - margin, 0, nx - 1)), int(np.clip(right + margin + 1, 1, nx))),
    )
