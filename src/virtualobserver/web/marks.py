"""What is pointed out in an interactive picture: lines, spans, boxes, places, and their names beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from virtualobserver.data.panels import Mark
from virtualobserver.plot.style import role_colour
from virtualobserver.typing import RecordDict

if TYPE_CHECKING:
    from bokeh.models import ColumnDataSource
    from bokeh.plotting import figure as Figure  # noqa: N812 - a class by another name

__all__ = ["draw_marks", "film_marks"]

Extent = tuple[float, float, float, float]


def draw_marks(figure: Figure, marks: Sequence[Mark], ends: tuple[float, float] | None = None) -> None:
    """Draw marks that stay.

    Parameters
    ----------
    ends
        The left and the right end of the panel, so that the names beside them stay in it.
    """
    from bokeh.models import BoxAnnotation, Span

    for mark in marks:
        colour = role_colour(mark.colour, 0)
        if mark.kind in {"span", "box"}:
            figure.add_layout(
                BoxAnnotation(
                    left=mark.x, right=mark.x_end, bottom=mark.y, top=mark.y_end, fill_color=colour, line_color=colour,
                    fill_alpha=0.10 if mark.kind == "span" else 0.0, line_alpha=0.8 if mark.kind == "box" else 0.0,
                )
            )  # fmt: skip
        elif mark.kind == "point":
            figure.scatter(
                [mark.x], [mark.y], size=14, marker="circle", fill_color=None, line_color=colour, line_width=2
            )
        elif mark.x_end is not None:
            figure.segment([mark.x], [mark.y], [mark.x_end], [mark.y_end], color=colour, line_width=1.5)
        else:
            along = "height" if mark.x is not None else "width"
            place = mark.x if mark.x is not None else mark.y
            figure.add_layout(Span(location=place, dimension=along, line_color=colour, line_dash="dashed"))
    _mark_labels(figure, [mark for mark in marks if mark.label], ends)


def film_marks(
    figure: Figure, marks: Sequence[Sequence[Mark]], extent: Extent, start: int
) -> ColumnDataSource:
    """Draw the marks of a film: those that are in all images stay, the others come and go with theirs.

    Parameters
    ----------
    marks
        Of each image.
    extent
        First and last border of the images in x, then in y.
    start
        The image that is shown first.

    Returns
    -------
    ColumnDataSource
        ``marks``: for each image the columns of what is only in some of them. The page copies them into the source
        ``marked`` when it shows that image.
    """
    from bokeh.models import ColumnDataSource

    staying = [one for one in dict.fromkeys(marks[0]) if all(one in some for some in marks)] if marks else []
    draw_marks(figure, staying, extent[:2])
    columns = [_columns([one for one in some if one not in staying], extent) for some in marks]
    marked = ColumnDataSource(columns[start] if columns else _columns([], extent), name="marked")
    figure.multi_line("xs", "ys", source=marked, line_color="colour", line_width=1.5)
    figure.scatter("x", "y", source=marked, size=18, fill_color=None, line_color="colour", line_alpha="ring",
                   line_width=1.6)  # fmt: skip
    figure.text(
        "x", "y", "label", source=marked, text_color="colour", text_font_size="10px", x_offset=5, y_offset=-5
    )
    return ColumnDataSource(
        {name: [one[name] for one in columns] for name in _columns([], extent)}, name="marks"
    )


def _columns(marks: Sequence[Mark], extent: Extent) -> RecordDict:
    """Return where each mark is named, its outline, and whether it is a ring, which has none."""
    lines = [_outline(one, extent) for one in marks]
    return {
        "x": [x[0] for x, _ in lines],
        "y": [y[0] for _, y in lines],
        "xs": [x for x, _ in lines],
        "ys": [y for _, y in lines],
        "ring": [float(one.kind == "point") for one in marks],
        "colour": [role_colour(one.colour, 0) for one in marks],
        "label": [one.label for one in marks],
    }


def _outline(mark: Mark, extent: Extent) -> tuple[list[float], list[float]]:
    """Return the corners of a mark, which goes from border to border where it has no ends."""
    x, y = ([v for v in pair if v is not None] for pair in ((mark.x, mark.x_end), (mark.y, mark.y_end)))
    if mark.kind in {"point", "line"} and x and y:
        return x, y
    x, y = x or list(extent[:2]), y or list(extent[2:])
    if mark.kind == "line":
        return (x * 2, y) if len(x) == 1 else (x, y * 2)
    return [x[0], x[1], x[1], x[0], x[0]], [y[0], y[0], y[1], y[1], y[0]]


def _mark_labels(figure: Figure, marks: Sequence[Mark], ends: tuple[float, float] | None) -> None:
    from bokeh.models import Label

    for n, mark in enumerate(marks[:_MOST_LABELS]):
        colour = _READABLE if mark.colour == "context" else role_colour(mark.colour, 0)
        beside = 10 if mark.kind == "point" else 3  # a place has a ring about it
        look = {"text": mark.label, "text_font_size": "10px", "text_color": colour, "x_offset": beside}
        across = mark.x is None
        if mark.x is not None and ends is not None and mark.x > ends[0] + _RIGHT * (ends[1] - ends[0]):
            look |= {"text_align": "right", "x_offset": -beside}
        y = mark.y if mark.y is not None else 4 + 12 * (n % 3)
        figure.add_layout(
            Label(
                x=4 if across else mark.x, y=y, x_units="screen" if across else "data",
                y_units="screen" if mark.y is None else "data", **look,
            )
        )  # fmt: skip


_RIGHT: Final = 0.85
"""Of the width: from there on a label stands on the left of what it names, or it would be cut off."""
_READABLE: Final = "#5f6b76"
"""Of the name of what is pale."""
_MOST_LABELS: Final = 12
"""More would cover each other."""
