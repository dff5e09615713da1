"""Pictures of a calibration: masters with their masks, a frame before and after, noise against its model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.ccd.frames import read_frame
from virtualobserver.ccd.header import unit_of
from virtualobserver.ccd.masters import choose_masters
from virtualobserver.ccd.settings import CCDSettings
from virtualobserver.conventions import (
    MASK_BAD,
    MASK_BLEED,
    MASK_COSMIC_RAY,
    MASK_HALO,
    MASK_HOT,
    MASK_INTERPOLATED,
    MASK_LOW_FLAT,
    MASK_LOW_WEIGHT,
    MASK_NAMES,
    MASK_NO_DATA,
    MASK_NONLINEAR,
    MASK_SATURATED,
    MASK_STREAK,
    MASK_UNSTABLE,
)
from virtualobserver.data.handles import Handle
from virtualobserver.data.image import Image
from virtualobserver.data.product import RawRef
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.ccd.masks import count_bits, lasting_pixels
from virtualobserver.maths.ccd.noise import NoiseCheck, Planes, check_noise
from virtualobserver.typing import RecordDict

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage
    from matplotlib.patches import Rectangle

__all__ = [
    "calibration_figures", "frame_figure", "lasting_figure", "masters_figure", "most_marked", "noise_figure",
]  # fmt: skip

_BLUE: Final = "#1f4e79"
_ORANGE: Final = "#e07b00"
_COLOURS: Final = {
    MASK_BAD: "#d62728", MASK_HOT: "#ff9e2c", MASK_SATURATED: "#f7e017", MASK_COSMIC_RAY: "#17becf",
    MASK_NO_DATA: "#7f7f7f", MASK_HALO: "#9ecae1", MASK_LOW_FLAT: "#9467bd", MASK_UNSTABLE: "#2ca02c",
    MASK_NONLINEAR: "#e377c2", MASK_BLEED: "#bcbd22", MASK_STREAK: "#1a55a8", MASK_INTERPOLATED: "#c49c94",
    MASK_LOW_WEIGHT: "#c7c7c7",
}  # fmt: skip
"""Bits that lie on top of others come last in `_order`."""
_order: Final = (
    MASK_LOW_WEIGHT, MASK_INTERPOLATED, MASK_HALO, MASK_LOW_FLAT, MASK_NO_DATA, MASK_HOT, MASK_UNSTABLE, MASK_BAD,
    MASK_NONLINEAR, MASK_BLEED, MASK_SATURATED, MASK_STREAK, MASK_COSMIC_RAY,
)  # fmt: skip
_MOST_PIXELS: Final = 512
"""Most points along an axis of a picture: panels are up to 5 inches wide, at 100 to 150 dots per inch."""
_MOST_MASTERS: Final = 6
"""Masters in one figure, where no raw frame tells which three suit: 31 inches wide. Chosen, not tuned."""
_MOST_FRAMES: Final = 24
"""Frames read for one figure, of the hundreds of a night. Chosen, not tuned."""
_BELOW: Final[RecordDict] = {
    "fontsize": 7, "loc": "upper center", "bbox_to_anchor": (0.5, 0.0), "borderaxespad": 5.5, "frameon": False,
}  # fmt: skip
_LEAST_LASTING: Final = 5
"""Fewest frames in which pixels can last: 70 % of five are four. Chosen, not tuned."""
_CUT: Final = 48
"""Pixels along each side of the enlarged part, in which tracks of a few pixels are seen. Chosen, not tuned."""


def calibration_figures(
    raws: Sequence[RawRef], products: Sequence[Handle[Image]], settings: CCDSettings
) -> dict[str, Figure]:
    """Return the figures ``frame``, ``masters``, ``noise`` and ``lasting`` of some frames.

    Drawn are the first frame, the masters that suit it, the noise of up to 24 frames one after another, and, from
    five frames on, the pixels that stay bright in them.
    """
    frames = [handle for handle in products if handle.info.role == "calibrated"]
    masters = [handle for handle in products if handle.info.role == "master" and not handle.info.series]
    if not frames:
        return {}
    raw = {unit_of(one.header, settings): one for one in raws}.get(frames[0].info.unit)
    figures = {}
    suited: list[Handle[Image]] = masters
    if raw is not None:
        figures["frame"] = frame_figure(raw, frames[0], settings)
        chosen = choose_masters(masters, raw.header, settings)
        suited = [chosen[name] for name in ("bias", "dark", "flat") if name in chosen]
    if suited:
        figures["masters"] = masters_figure(suited[:_MOST_MASTERS])
    if len(frames) > 1:
        figures["noise"] = noise_figure(check_noise(_planes(one) for one in frames[:_MOST_FRAMES]))
    if len(frames) >= _LEAST_LASTING:
        step = -(-len(frames) // _MOST_FRAMES)
        lasting = lasting_pixels(frame.load().data for frame in frames[::step])
        figures["lasting"] = lasting_figure(frames[0].load(), lasting > 0, len(frames[::step]))
    return figures


def _planes(frame: Handle[Image]) -> Planes:
    image = frame.load()
    assert image.variance is not None
    assert image.mask is not None
    return image.data, image.variance, image.mask


def masters_figure(masters: Sequence[Handle[Image]]) -> Figure:
    """Draw master frames, each with the pixels of its mask in colour and their number in the legend."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2 * len(masters), 5.2), layout="compressed")
    axes = figure.subplots(1, len(masters), squeeze=False)[0]
    for axis, handle in zip(axes, masters, strict=True):
        image: Image = handle.load()
        facts = handle.info.statistics
        shown = _picture(axis, image.data)
        figure.colorbar(shown, ax=axis, fraction=0.046, label=image.unit or "relative response")
        _mask(axis, image.mask)
        axis.set_title(
            f"{handle.info.unit}\n{facts.get('n_combine')} frames, {facts.get('n_reject')} values rejected",
            fontsize=9,
        )
    return figure


def frame_figure(raw: RawRef, handle: Handle[Image], settings: CCDSettings) -> Figure:
    """Draw a frame before and after calibration with its mask, whole and around its most marked place."""
    from matplotlib.figure import Figure

    before = read_frame(raw, settings).data
    after: Image = handle.load()
    box = most_marked(after.mask)
    figure = Figure(figsize=(14.0, 9.0), layout="compressed")
    axes = figure.subplots(2, 3)
    for line, cut in zip(axes, (None, box), strict=True):
        for axis, data, unit in ((line[0], before, "adu"), (line[1], after.data, after.unit)):
            part = data if cut is None else data[cut]
            shown = _picture(axis, part, cut)
            figure.colorbar(shown, ax=axis, fraction=0.046, label=unit)
        _picture(line[2], after.data if cut is None else after.data[cut], cut)
        _mask(line[2], after.mask, cut)
    for axis, title in zip(axes[0], ("raw", "calibrated", "mask"), strict=True):
        axis.set_title(title)
    for axis in axes[0]:
        axis.add_patch(_frame(box))
    figure.suptitle(f"{raw.archive_id}")
    return figure


def noise_figure(check: NoiseCheck) -> Figure:
    """Draw the scatter that frames show against that of their variance planes, and what they differ by.

    Frames with the same masters share the noise of these, which the variance holds and differences do not show:
    a ratio a little below 1 is right.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.0, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    ends = np.array([check.expected.min(), check.expected.max()])
    left.plot(ends, ends, color=_ORANGE, lw=1.2, label="as the variance says")
    left.errorbar(check.expected, check.measured, check.error, fmt="o", ms=4, color=_BLUE, label="measured")
    left.set(xlabel="noise by the variance plane [electron]", ylabel="scatter between frames [electron]")
    left.legend(frameon=False, loc="upper left")
    left.set_title(f"measured / expected variance = {check.ratio:.3f}", fontsize=10)
    edges = np.linspace(-5, 5, len(check.pulls) + 1)
    middle = (edges[1:] + edges[:-1]) / 2
    total = check.pulls.sum() * (edges[1] - edges[0])
    right.stairs(check.pulls / max(total, 1e-300), edges, color=_BLUE, label="differences / noise")
    right.plot(
        middle, np.exp(-0.5 * middle**2) / np.sqrt(2 * np.pi), color=_ORANGE, lw=1.2, label="normal, sigma 1"
    )
    right.set(
        xlabel="difference of two frames / its expected noise", ylabel="density", yscale="log", ylim=(1e-6, 1)
    )
    right.legend(frameon=False, loc="lower center")
    right.set_title(f"{check.pixels} pixels of {check.pairs} pairs of frames without stars", fontsize=10)
    return figure


def lasting_figure(image: Image, lasting: NDArray[np.bool_], frames: int) -> Figure:
    """Draw pixels that stay bright in the frames of a night while the stars drift over them.

    Those in the mask of the first frame are orange circles, those that escaped it red ones.
    """
    from matplotlib.figure import Figure

    assert image.mask is not None
    figure = Figure(figsize=(7.0, 6.0), layout="compressed")
    axis = figure.subplots()
    figure.colorbar(_picture(axis, image.data), ax=axis, fraction=0.046, label=image.unit)
    known = (
        image.mask & ~np.asarray(MASK_COSMIC_RAY, image.mask.dtype)
    ) > 0  # one that escaped looks like those
    for which, colour, name in (
        (lasting & known, _COLOURS[MASK_HOT], "in the mask"), (lasting & ~known, _COLOURS[MASK_BAD], "not in the mask"),
    ):  # fmt: skip
        y, x = np.nonzero(which)
        axis.plot(x, y, "o", ms=8, mfc="none", mec=colour, label=f"{name}: {len(x)}")
    axis.legend(ncols=2, **_BELOW)
    axis.set_title(
        f"bright in at least 70 % of {frames} frames\n(where the stars do not drift, so are they)", fontsize=9
    )
    return figure


# --- inside -----------------------------------------------------------------------------------------------


def _picture(axis: Axes, data: Array, cut: tuple[slice, slice] | None = None) -> AxesImage:
    """Draw an image between its 1st and 99.5th percentile, large ones as means over blocks."""
    step = _step(data.shape)
    finite = data[np.isfinite(data)]
    low, high = (float(v) for v in np.percentile(finite, [1, 99.5])) if finite.size else (0.0, 1.0)
    high = high if high > low else low + 1.0
    small = _blocks(np.asarray(data, np.float64), step).mean(axis=(1, 3))
    axis.set(xlabel="x [pixel]", ylabel="y [pixel]")
    return axis.imshow(
        small, origin="lower", cmap="gray", vmin=low, vmax=high, interpolation="nearest",
        extent=_extent(data.shape, step, cut),
    )  # fmt: skip


def _mask(axis: Axes, mask: Array | None, cut: tuple[slice, slice] | None = None) -> None:
    """Lay the bits of a mask over a picture in colour; the legend says how many pixels have each."""
    from matplotlib.colors import to_rgba
    from matplotlib.patches import Patch

    if mask is None:
        return
    part = mask if cut is None else mask[cut]
    step = _step(part.shape)
    counts = count_bits(part)
    blocks = _blocks(part, step)
    over = np.zeros((blocks.shape[0], blocks.shape[2], 4))
    entries = []
    for bit in _order:
        if counts[MASK_NAMES[bit]]:
            over[((blocks & bit) > 0).any(axis=(1, 3))] = to_rgba(_COLOURS[bit], 0.9)
            entries.append(Patch(color=_COLOURS[bit], label=f"{MASK_NAMES[bit]}: {counts[MASK_NAMES[bit]]}"))
    axis.imshow(over, origin="lower", interpolation="nearest", extent=_extent(part.shape, step, cut))
    if entries:
        axis.legend(
            handles=entries, fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.16), frameon=False
        )


def _step(shape: tuple[int, ...]) -> int:
    return -(-max(shape) // _MOST_PIXELS)


def _blocks(data: Array, step: int) -> Array:
    """Return an image as blocks, shape (rows, step, columns, step); pixels over at the ends are left out."""
    rows, cols = data.shape[0] // step, data.shape[1] // step
    return data[: rows * step, : cols * step].reshape(rows, step, cols, step)


def _extent(
    shape: tuple[int, ...], step: int, cut: tuple[slice, slice] | None
) -> tuple[float, float, float, float]:
    y0, x0 = (0, 0) if cut is None else (cut[0].start, cut[1].start)
    rows, cols = shape[0] // step * step, shape[1] // step * step
    return (x0 - 0.5, x0 + cols - 0.5, y0 - 0.5, y0 + rows - 0.5)


def most_marked(mask: Array | None) -> tuple[slice, slice]:
    """Return the box with most pixels hit by cosmic rays, else most bad ones."""
    assert mask is not None
    size = min(_CUT, *mask.shape)
    hit = (mask & MASK_COSMIC_RAY) > 0
    hit = hit if hit.any() else mask > 0
    step = max(size // 2, 1)
    rows, cols = mask.shape[0] // step, mask.shape[1] // step
    counts = hit[: rows * step, : cols * step].reshape(rows, step, cols, step).sum(axis=(1, 3))
    row, col = np.unravel_index(int(counts.argmax()), counts.shape)
    y0 = min(max(int(row) * step - step // 2, 0), mask.shape[0] - size)
    x0 = min(max(int(col) * step - step // 2, 0), mask.shape[1] - size)
    return slice(y0, y0 + size), slice(x0, x0 + size)


def _frame(box: tuple[slice, slice]) -> Rectangle:
    from matplotlib.patches import Rectangle as Patch

    rows, cols = box
    width, height = cols.stop - cols.start, rows.stop - rows.start
    return Patch((cols.start - 0.5, rows.start - 0.5), width, height, fill=False, ec=_ORANGE, lw=1.2)
