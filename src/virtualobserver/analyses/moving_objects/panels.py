"""What to see of movers that shift and stack found, and of how many are found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.analyses.moving_objects.night import Night
from virtualobserver.analyses.moving_objects.photometry import sums_along
from virtualobserver.analyses.moving_objects.recall import strength_of
from virtualobserver.analyses.moving_objects.rows import physical
from virtualobserver.data.curve_panels import MJD, event_facts
from virtualobserver.data.panels import Axis, Curve, Facts, ImageStack, Mark, Panel, Series
from virtualobserver.data.result import Event
from virtualobserver.data.table import Table
from virtualobserver.errors import NotEnoughData
from virtualobserver.maths.completeness import fit_completeness, recall_bins
from virtualobserver.maths.shiftstack.boxes import open_likelihoods
from virtualobserver.maths.shiftstack.find import Harvest
from virtualobserver.maths.shiftstack.images import Stack
from virtualobserver.maths.shiftstack.stamps import coadd

__all__ = ["FACTS", "UNITS", "event_panels", "night_panels", "recall_panels"]

FloatArray = NDArray[np.float64]

FACTS: Final = (
    "likelihood", "n_obs", "rate", "rate_error", "pa", "flux", "flux_error", "epoch_flux", "epoch_flux_error",
    "position_error", "residual_east", "residual_north", "kept", "chi2", "known_as", "first_mjd", "last_mjd",
)  # fmt: skip
"""Parameters of a mover that a person judges by."""
UNITS: Final = {
    "rate": "arcsec/h", "rate_error": "arcsec/h", "pa": "deg", "position_error": "arcsec",
    "residual_east": "arcsec", "residual_north": "arcsec", "first_mjd": "MJD", "last_mjd": "MJD",
}  # fmt: skip
_RADIUS: Final = 10
"""Pixels on either side of the path: that of the stamps that are stored, so that both show the same sky."""
_MOST: Final = 8
"""Movers on a sheet. Chosen: the best come first, and more of them are too small to be judged on one page."""
_FILM: Final = 60
"""Images of a film: more take longer to look at than to judge by the sum."""
_MEASURED: Final = 4.0
"""S/N from which the place of a source in one image says more than the noise does."""
_REACH: Final = 2
"""Pixels within which that place is looked for: farther off, it is another source."""
_BINS: Final = 8
"""Bins of a recall; hundreds of injections leave tens in each."""
_X, _Y = Axis("x from the path", "pixel"), Axis("y from the path", "pixel")


def event_panels(night: Night, event: Event) -> list[Panel]:
    """Return the mover of one detection, whose path its parameters give; the night is not searched again.

    Sum of the images along the path, and at rest, where only a real mover is smeared out; a film of the images along
    the path; S/N and light of each image; how far the source is off its path; what is known of it.
    """
    path, stack = event.parameters, night.stack
    since = stack.mjd - path["mjd0"]
    x, y = path["x0"] + path["vx"] * since, path["y0"] + path["vy"] * since
    frame = int(np.argmin(np.abs(stack.mjd - event.peak_mjd)))
    sums = sums_along(night, x, y, path["vx"], path["vy"])
    psi, phi = np.asarray(sums.psi, np.float64), np.asarray(sums.phi, np.float64)
    seen = np.flatnonzero(phi > 0)
    peak = Mark("line", x=float(stack.mjd[frame]))
    rings = (
        [Mark("point", x=float(stack.mjd[frame]), y=psi[frame] / phi[frame] ** 0.5)] if phi[frame] > 0 else []
    )
    title = f"{path['likelihood']:.1f}, {path['n_obs']} images, {path['rate']:.1f}″/h"
    flux, error, unit = physical(night, psi[seen] / phi[seen], phi[seen] ** -0.5, seen)
    panels: list[Panel] = [
        _sums(stack, [(x, y, frame)], [f"likelihood {title}"]),
        _film(stack, x, y, frame, seen),
        Series(
            "S/N of each image along the path",
            MJD,
            Axis("S/N"),
            [Curve("", stack.mjd[seen], psi[seen] / np.sqrt(phi[seen]))],
            [peak, *rings, Mark("line", y=0.0, colour="context")],
        ),
        Series(
            "light along the path", MJD, Axis("flux", unit),
            [Curve("", stack.mjd[seen], flux, error, colour=f"band {night.band}")],
            [peak, Mark("line", y=0.0, colour="context")],
        ),
    ]  # fmt: skip
    if (off := _residuals(night, x, y, psi, phi)) is not None:
        panels.append(off)
    units = UNITS | dict.fromkeys(("flux", "flux_error", "epoch_flux", "epoch_flux_error"), night.unit)
    return [*panels, event_facts(event, units=units, only=FACTS)]


def night_panels(night: Night, harvest: Harvest) -> list[Panel]:
    """Return the strongest movers of a night: summed along the path, at rest, and S/N of each image."""
    movers, stack = harvest.movers[:_MOST], night.stack
    rows: list[tuple[str, str | float, str]] = [
        ("movers", len(harvest.movers), ""),
        ("threshold of the likelihood", harvest.level, ""),
    ]
    if harvest.inverted is not None and harvest.shuffled is not None:
        rows += [
            ("false alarms, inverted", len(harvest.inverted), ""),
            ("false alarms, shuffled", len(harvest.shuffled), ""),
        ]
    facts = Facts("search of the night", rows)
    if not movers:
        return [facts]
    paths = [(*mover.path.at(night.tau), len(night.tau) // 2) for mover in movers]
    labels = [f"{n}: L {mover.likelihood:.1f}, {mover.n_obs} images" for n, mover in enumerate(movers, 1)]
    curves = []
    for number, mover in enumerate(movers, 1):
        here = mover.phi > 0
        snr = mover.psi[here] / np.sqrt(mover.phi[here])
        curves.append(Curve(str(number), stack.mjd[here], snr, flags=~mover.kept[here]))
    zero = [Mark("line", y=0.0, colour="context")]
    return [
        _sums(stack, paths, labels, at_rest=False),
        _sums(stack, paths, labels, along=False),
        Series("each image", MJD, Axis("S/N"), curves, zero, note="hollow: left out of the sum"),
        facts,
    ]


def recall_panels(truth: Table, *, by: str = "") -> list[Series]:
    """Return the fraction found with Wilson intervals, against magnitude or expected likelihood, and rate.

    Parameters
    ----------
    truth
        Injected movers with ``mag, likelihood, rate, found``.
    by
        Column of the first panel; by default ``mag`` where it is known and was drawn, else ``likelihood``.
    """
    name = by or strength_of(truth)
    labels = {"mag": "magnitude", "likelihood": "expected likelihood"}
    sign = 1.0 if name == "mag" else -1.0
    curves, marks, half = [], [], "fraction found"
    try:
        fit = fit_completeness(sign * truth[name], truth["found"])
    except NotEnoughData:
        pass
    else:
        line = np.linspace(float(truth[name].min()), float(truth[name].max()), 200)
        curves = [Curve("fit", line, fit.at(sign * line), style="line", colour="model")]
        if line[0] <= sign * fit.m50 <= line[-1]:
            marks = [Mark("line", x=sign * fit.m50, colour="model")]
        half = f"half found at {sign * fit.m50:.2f} ± {fit.m50_error:.2f}"
    share = Axis("fraction found", limits=(-0.03, 1.06))
    points, bars = _binned(truth[name], truth["found"])
    first = Series(half, Axis(labels.get(name, name)), share, [*curves, points], [*marks, *bars])
    points, bars = _binned(truth["rate"], truth["found"])
    title = f"{int(truth['found'].sum())} of {len(truth)} found"
    return [first, Series(title, Axis("rate", "arcsec/h"), share, [points], bars)]


# --- parts ------------------------------------------------------------------------------------------------


def _sums(
    stack: Stack,
    paths: Sequence[tuple[FloatArray, FloatArray, int]],
    labels: Sequence[str],
    *,
    along: bool = True,
    at_rest: bool = True,
) -> ImageStack:
    """Return the weighted sum of the images along each path, and at rest where the path is in a frame."""
    images, said = [], []
    for (x, y, frame), label in zip(paths, labels, strict=True):
        if along:
            images.append(coadd(stack, x, y, kind="weighted", radius=_RADIUS))
            said.append(label)
        if at_rest:
            still = (np.full_like(x, x[frame]), np.full_like(y, y[frame]))
            images.append(coadd(stack, *still, kind="weighted", radius=_RADIUS))
            said.append("at rest" if along else label)
    title = (
        "sum along the path, and at rest" if along and at_rest else "along the path" if along else "at rest"
    )
    return ImageStack(
        title, np.stack(images), said, _X, _Y, extent=_box(), value=Axis("brightness"), stretch="linear"
    )


def _film(stack: Stack, x: FloatArray, y: FloatArray, frame: int, seen: NDArray[np.int64]) -> ImageStack:
    """Return the images along a path, that of the detection first shown, some of them where there are many."""
    frames = seen
    if len(frames) > _FILM:
        frames = np.unique(np.append(frames[np.linspace(0, len(frames) - 1, _FILM).astype(int)], frame))
    if frame not in frames:
        frames = np.unique(np.append(frames, frame))
    images, marks = [], []
    for one in frames.tolist():
        column, row = (int(np.floor(place[one] + 0.5)) for place in (x, y))
        rows, cols = ((middle - _RADIUS, middle + _RADIUS + 1) for middle in (row, column))
        images.append(np.asarray(stack.planes(one, rows, cols)[0], np.float64))
        marks.append([Mark("point", x=float(x[one] - column), y=float(y[one] - row))])
    cut = np.stack(images)
    return ImageStack(
        "images along the path",
        cut,
        [f"MJD {stack.mjd[one]:.5f}" for one in frames.tolist()],
        _X,
        _Y,
        marks,
        masks={"no data": ~np.isfinite(cut)},
        extent=_box(),
        value=Axis("brightness"),
        start=frames.tolist().index(frame),
    )


def _box() -> tuple[float, float, float, float]:
    end = _RADIUS + 0.5
    return -end, end, -end, end


def _residuals(night: Night, x: FloatArray, y: FloatArray, psi: FloatArray, phi: FloatArray) -> Series | None:
    """Return how far the source is off its path in the images that show it by themselves.

    The place in an image is where the likelihood is highest, between pixels by a parabola; its error is the width of
    the profile over S/N.
    """
    snr = np.where(phi > 0, psi / np.sqrt(np.where(phi > 0, phi, 1.0)), 0.0)
    strong = np.flatnonzero(snr >= _MEASURED)
    if strong.size < 2:
        return None
    size = 2 * _REACH + 3
    corner = np.floor(np.stack([x, y], axis=1) + 0.5).astype(np.int64) - (_REACH + 1)
    near = open_likelihoods(night.stack).boxes(corner, (size, size))
    found = []
    for one in strong.tolist():
        with np.errstate(all="ignore"):
            chance = np.where(near.phi[one] > 0, near.psi[one] / np.sqrt(near.phi[one]), -np.inf)
        row, column = divmod(int(np.argmax(chance[1:-1, 1:-1])), size - 2)
        row, column = row + 1, column + 1
        at = (
            corner[one, 0] + column + _vertex(chance[row, column - 1 : column + 2]) - x[one],
            corner[one, 1] + row + _vertex(chance[row - 1 : row + 2, column]) - y[one],
        )
        found.append((*at, night.sigma[one] / snr[one]))
    off = np.array(found) * night.pixel_scale
    mjd = night.mjd[strong]
    curves = [
        Curve("in x", mjd, off[:, 0], off[:, 2], colour="data"),
        Curve("in y", mjd, off[:, 1], off[:, 2], colour="second"),
    ]
    note = f"{strong.size} images that show it at S/N {_MEASURED:g} or more"
    line = [Mark("line", y=0.0, colour="context")]
    return Series("off the path", MJD, Axis("offset", "arcsec"), curves, line, note=note)


def _vertex(values: NDArray[np.floating]) -> float:
    """Return where the parabola through three values has its top, from the middle one."""
    left, middle, right = (float(one) for one in values)
    bend = left - 2 * middle + right
    return 0.5 * (left - right) / bend if np.isfinite(bend) and bend < 0 else 0.0


def _binned(value: FloatArray, found: NDArray[np.bool_]) -> tuple[Curve, list[Mark]]:
    low, high = float(np.min(value)), float(np.max(value))
    bins = recall_bins(value, found, np.linspace(low, high if high > low else low + 1.0, _BINS + 1))
    middle = 0.5 * (bins.edges[1:] + bins.edges[:-1])
    some = np.flatnonzero(bins.injected > 0)
    bars = [
        Mark(
            "line",
            x=middle[n],
            x_end=middle[n],
            y=bins.interval.low[n],
            y_end=bins.interval.high[n],
            colour="data",
        )
        for n in some.tolist()
    ]
    told = [f"{int(n)} injected" for n in bins.injected[some]]
    return Curve("", middle[some], bins.recall[some], colour="data", text=told), bars
