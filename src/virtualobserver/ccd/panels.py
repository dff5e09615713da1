"""What a person should see of one calibrated frame: before and after, its masks, its noise against its variance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from virtualobserver.ccd.figures import most_marked
from virtualobserver.ccd.frames import read_frame
from virtualobserver.ccd.settings import CCDSettings
from virtualobserver.data.frame_panels import frame_stack
from virtualobserver.data.handles import Handle
from virtualobserver.data.image import Image
from virtualobserver.data.panels import Axis, Curve, Facts, ImageStack, Panel, Series
from virtualobserver.data.product import RawRef
from virtualobserver.errors import NotEnoughData, VirtualObserverError
from virtualobserver.maths.ccd.noise import Planes, check_noise

__all__ = ["frame_panels"]


def frame_panels(
    raws: Sequence[RawRef], frames: Sequence[Handle[Image]], settings: CCDSettings
) -> list[Panel]:
    """Return the panels of a frame; what cannot be drawn is a note that says why.

    Parameters
    ----------
    raws
        Its raw data.
    frames
        The frame, and one of the same field beside it, with which its noise is measured.
    """
    image = frames[0].load()
    panels: list[Panel] = [
        _before(raws, settings),
        frame_stack(image, "calibrated"),
    ]
    if image.mask is not None and image.mask.any():
        panels.append(frame_stack(image, "where most is marked", most_marked(image.mask)))
    return [*panels, _noise(image, frames[1:])]


def _before(raws: Sequence[RawRef], settings: CCDSettings) -> ImageStack | Facts:
    if not raws:
        return Facts("raw", [], "its raw data are not in the database")
    try:
        return frame_stack(Image(read_frame(raws[0], settings).data, unit="adu"), "raw")
    except (VirtualObserverError, OSError) as error:
        return Facts("raw", [], str(error))


def _noise(image: Image, others: Sequence[Handle[Image]]) -> Series | Facts:
    """Return the scatter between two frames over what their variances say of it."""
    title = "noise against variance"
    other = others[0].load() if others else None
    mine, its = _planes(image), None if other is None else _planes(other)
    if mine is None or its is None:
        return Facts(title, [], "no second frame of the same field, or no variance: nothing to compare with")
    try:
        check = check_noise([mine, its])
    except (NotEnoughData, VirtualObserverError) as error:
        return Facts(title, [], str(error))
    ends = np.array([check.expected.min(), check.expected.max()])
    return Series(
        title,
        Axis("noise by the variance", image.unit),
        Axis("scatter between two frames", image.unit),
        [
            Curve("as the variance says", ends, ends, style="line", colour="model"),
            Curve("measured", check.expected, check.measured, y_error=check.error),
        ],
        note=f"measured / expected variance = {check.ratio:.3f}, {check.pixels} pixels without stars",
    )


def _planes(image: Image) -> Planes | None:
    if image.variance is None or image.mask is None:
        return None
    return image.data, image.variance, image.mask
