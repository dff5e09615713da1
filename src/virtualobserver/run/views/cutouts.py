"""What frames show of a moving body that was found in lists of sources: a film of boxes about its places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from sqlalchemy import text

from virtualobserver.data.image import Image
from virtualobserver.data.panels import Axis, Facts, ImageStack, Mark
from virtualobserver.errors import DataError, VirtualObserverError
from virtualobserver.maths.arrays import Array
from virtualobserver.models.product import product_handle
from virtualobserver.run.verdicts import epochs
from virtualobserver.typing import QueryRow

if TYPE_CHECKING:
    from virtualobserver.db.engine import Session
    from virtualobserver.run.opened import Opened

__all__ = ["TASKS_BEHIND", "cutout_panel"]

RADIUS: Final = 15
"""Pixels on either side of the body: a trail fits in, and so does a star that may explain it."""
MOST: Final = 60
"""Frames of a film, evenly chosen: more take longer to look at than to judge."""

TASKS_BEHIND: Final = """
    WITH RECURSIVE up(task_id) AS (
      SELECT task_id FROM detection WHERE id = :id
      UNION
      SELECT p.task_id FROM up JOIN task_input i ON i.task_id = up.task_id JOIN product p ON p.id = i.product_id)"""
"""Beginning of a query: ``up`` are the tasks from which, over however many steps, detection ``:id`` came."""
_PLACES: Final = """
    SELECT d.peak_mjd AS mjd, d.snr, (d.parameters->>'x')::float8 AS x, (d.parameters->>'y')::float8 AS y
    FROM detection d WHERE d.id = ANY(:ids) ORDER BY d.peak_mjd, d.id"""
# The images from which, over however many steps, the task made its detections, each with the exposure it is of.
_FRAMES: Final = f"""{TASKS_BEHIND}
    SELECT p.*, t.unit, t.step, f.path, f.format, r.t_min AS begins, r.t_max AS ends
    FROM up JOIN product p ON p.task_id = up.task_id JOIN task t ON t.id = p.task_id
    JOIN task_input i ON i.task_id = t.id JOIN raw_data r ON r.id = i.raw_data_id
    LEFT JOIN file f ON f.id = p.file_id
    WHERE p.kind = 'image' AND p.role <> 'master' AND r.t_min IS NOT NULL ORDER BY r.t_min, p.id"""  # noqa: S608 - a constant of ours
_SLACK: Final = 1e-5
"""Days; times of frames are written with five digits."""


def cutout_panel(project: Opened, session: Session, detection: int) -> ImageStack | Facts:
    """Return a film of the boxes of all frames about the places of a moving body, or in a note why there is none.

    The body stays in the middle, stars pass by.
    """
    places = session.execute(text(_PLACES), {"ids": epochs(session, detection)}).all()
    start = session.execute(
        text("SELECT peak_mjd FROM detection WHERE id = :id"), {"id": detection}
    ).scalar_one()
    frames = session.execute(text(_FRAMES), {"id": detection}).all()
    placed = [one for one in places if one.x is not None and one.y is not None]
    pairs = [(one, frame) for one in _some(placed, start) if (frame := _frame(frames, one.mjd)) is not None]
    kept = [(one, frame) for one, frame in pairs if frame.path is not None]
    if not kept:
        return Facts("no film", [], note=_why(placed, pairs))
    try:
        boxes = [_box(project, one, frame) for one, frame in kept]
    except (VirtualObserverError, OSError) as error:
        return Facts("no film", [], note=f"a frame cannot be read: {error}")
    left_out = len(pairs) - len(kept)
    end = RADIUS + 0.5
    return ImageStack(
        "frames about the body",
        np.stack([box for box, _, _ in boxes]),
        [f"{one.mjd:.5f}, S/N {one.snr:.1f}" for one, _ in kept],
        Axis("x from the body", "pixel"),
        Axis("y from the body", "pixel"),
        [[mark] for _, _, mark in boxes],
        masks={"masked": np.stack([mask for _, mask, _ in boxes])},
        extent=(-end, end, -end, end),
        value=Axis("brightness"),
        start=int(np.argmin([abs(one.mjd - start) for one, _ in kept])),
        note=f"{left_out} frames were dropped from the disk" if left_out else "",
    )


def _some(places: Sequence[QueryRow], start: float) -> list[QueryRow]:
    """Return all epochs, or where there are many some of them, with that of the detection."""
    if len(places) <= MOST:
        return list(places)
    wanted = {*np.linspace(0, len(places) - 1, MOST).astype(int).tolist()}
    wanted.add(int(np.argmin([abs(one.mjd - start) for one in places])))
    return [places[n] for n in sorted(wanted)]


def _frame(frames: Sequence[QueryRow], mjd: float) -> QueryRow | None:
    return next((one for one in frames if one.begins - _SLACK <= mjd <= one.ends + _SLACK), None)


def _why(placed: Sequence[QueryRow], pairs: Sequence[tuple[QueryRow, QueryRow]]) -> str:
    if pairs:
        roles = ", ".join(sorted({frame.role for _, frame in pairs}))
        return f"the frames ({roles}) were dropped from the disk; `keep: {{{roles}: true}}` brings them back"
    if not placed:
        return "the search did not record where in its frames the body is"
    return "the search had lists of sources, and no frames from which they were measured are in the database"


def _box(project: Opened, one: QueryRow, frame: QueryRow) -> tuple[Array, Array, Mark]:
    """Return pixels and mask about a place, NaN and False beyond the edge, and where in the box it is."""
    handle = product_handle(project.workspace.store, frame, frame.path, file_format=frame.format)
    row, column = (int(np.floor(place + 0.5)) for place in (one.y, one.x))
    rows, cols = (slice(max(middle - RADIUS, 0), max(middle + RADIUS + 1, 1)) for middle in (row, column))
    cut = handle.section(rows, cols)
    if not isinstance(cut, Image):
        msg = f"{frame.path} is no image"
        raise DataError(msg)
    size = 2 * RADIUS + 1
    data, mask = np.full((size, size), np.nan), np.zeros((size, size), dtype=np.bool_)
    ny, nx = cut.data.shape
    top, left = rows.start - (row - RADIUS), cols.start - (column - RADIUS)
    data[top : top + ny, left : left + nx] = cut.data
    if cut.mask is not None:
        mask[top : top + ny, left : left + nx] = cut.mask != 0
    return data, mask, Mark("point", x=one.x - column, y=one.y - row)
