"""What is pointed out in a picture: lines, spans, boxes, places, and their names beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from matplotlib.patches import Rectangle

from virtualobserver.data.panels import Mark
from virtualobserver.plot.style import role_colour
from virtualobserver.typing import RecordDict

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_mark", "draw_marks", "plain"]


def draw_marks(axis: Axes, marks: Sequence[Mark]) -> None:
    """Draw marks; labels of upright lines that stand side by side begin at different heights."""
    upright = sorted(
        (one.x, n) for n, one in enumerate(marks) if one.label and one.y is None and one.x is not None
    )
    heights = {n: _TOP - _STEP * (rank % _LEVELS) for rank, (_, n) in enumerate(upright)}
    for n, mark in enumerate(marks):
        draw_mark(axis, mark, heights.get(n, _TOP))


_TOP: Final = 0.98  # of the height of a panel: where the label of an upright line ends
_STEP: Final = 0.2
"""How far below it the next one ends: a label of a dozen letters has room."""
_LEVELS: Final = 4  # that many fit below one another


def draw_mark(axis: Axes, mark: Mark, height: float = _TOP) -> None:
    """Draw one mark; the name of an upright line ends at a part of the height of the axes."""
    colour = role_colour(mark.colour, 0)
    x, x_end, y, y_end = (np.nan if one is None else one for one in (mark.x, mark.x_end, mark.y, mark.y_end))
    if mark.kind == "span" and mark.x is not None:
        axis.axvspan(x, x_end, color=colour, alpha=0.16, lw=0, zorder=0)
    elif mark.kind == "span":
        axis.axhspan(y, y_end, color=colour, alpha=0.16, lw=0, zorder=0)
    elif mark.kind == "box":
        axis.add_patch(Rectangle((x, y), x_end - x, y_end - y, fill=False, ec=colour, lw=1.6, zorder=4))
    elif mark.kind == "point":
        axis.plot(x, y, "o", ms=12, mfc="none", mec="w", mew=2.6, zorder=4)
        axis.plot(x, y, "o", ms=12, mfc="none", mec=colour, mew=1.4, zorder=5)
    elif mark.x is None:
        axis.axhline(y, color=colour, lw=0.9, ls="--", zorder=1)
    elif mark.y is None:
        axis.axvline(x, color=colour, lw=0.9, ls="--", zorder=1)
    else:
        axis.plot([x, x_end], [y, y_end], color=colour, lw=1.2, zorder=4)
    if mark.label:
        _beside(axis, mark, plain(mark.label), height)


def plain(text: str) -> str:
    """Return a text that Matplotlib writes as it stands: a dollar begins no formula."""
    return text.replace("$", r"\$")


# --- inside -----------------------------------------------------------------------------------------------


def _beside(axis: Axes, mark: Mark, label: str, height: float) -> None:
    """Write the name of a mark where it hides little: at the border of the axes where it reaches it."""
    style: RecordDict = {"fontsize": 7, "color": "#333333", "zorder": 6, "clip_on": True}
    if mark.kind in ("line", "span") and mark.y is None and mark.x is not None:
        end = mark.x if mark.x_end is None else (mark.x + mark.x_end) / 2
        along = axis.get_xaxis_transform()
        axis.text(end, height, label, transform=along, rotation=90, ha="right", va="top", **style)
    elif mark.kind in ("line", "span") and mark.x is None and mark.y is not None:
        middle = mark.y if mark.y_end is None else (mark.y + mark.y_end) / 2
        beside = style | {"clip_on": False}
        axis.text(
            1.005, middle, label, transform=axis.get_yaxis_transform(), ha="left", va="center", **beside
        )
    elif mark.x is not None and mark.y is not None:
        axis.annotate(
            label, (mark.x, mark.y), xytext=(7, 7), textcoords="offset points", fontsize=7, zorder=6
        )
