"""Panels: what a picture shows, as plain data that any library can draw.

An analysis says with panels what a person should see of a detection, the most telling one first. `virtualobserver.plot`
draws them as still pictures, the vetting page as interactive ones. Knows no picture itself: neither colours nor sizes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from virtualobserver.errors import DataError
from virtualobserver.maths.arrays import Array

__all__ = ["ROLES", "Axis", "Curve", "Facts", "Heatmap", "ImageStack", "Mark", "Panel", "Series", "Style"]

Scale: TypeAlias = Literal["linear", "log", "magnitude", "time"]
Style: TypeAlias = Literal["points", "line", "steps", "bars"]
MarkKind: TypeAlias = Literal["line", "span", "point", "box"]
Stretch: TypeAlias = Literal["linear", "asinh", "zscale", "symmetric"]

ROLES: Final = ("data", "second", "third", "model", "reference", "event", "flagged", "context")
"""What a curve or a mark is in its panel, by which it gets its colour; ``band`` and the name of a filter is another.

``context`` is what lies pale behind the others: spectra of other nights, stars of the field.
"""

_SPELLED: Final = {"uJy": "µJy", "Angstrom": "Å", "um": "µm"}
_PLACES: Final[Mapping[str, tuple[frozenset[str], ...]]] = {
    "line": (frozenset({"x"}), frozenset({"y"}), frozenset({"x", "x_end", "y", "y_end"})),
    "span": (frozenset({"x", "x_end"}), frozenset({"y", "y_end"})),
    "point": (frozenset({"x", "y"}),),
    "box": (frozenset({"x", "x_end", "y", "y_end"}),),
}
"""Which of its four numbers a mark of each kind has."""


@dataclass(frozen=True)
class Axis:
    """One axis: what it counts, in which unit, and how.

    Parameters
    ----------
    name
        What is counted: ``velocity``.
    unit
        As astropy writes it: ``km/s``; empty if there is none.
    scale
        ``magnitude`` is drawn upside down, ``time`` holds MJD (UTC, mid-exposure).
    limits
        Lowest and highest value shown, in this order also of magnitudes; None where the data say it.
    reverse
        Whether it runs from high to low, as right ascension on the sky; magnitudes do so by themselves.

    Raises
    ------
    DataError
        If the scale is unknown, or the limits are not two finite numbers in rising order, positive on a logarithmic
        axis.
    """

    name: str
    unit: str = ""
    scale: Scale = "linear"
    limits: tuple[float, float] | None = None
    reverse: bool = False

    def __post_init__(self) -> None:
        _known("scale", self.scale, get_args(Scale))
        if self.limits is None:
            return
        limits = np.asarray(self.limits, dtype=np.float64)
        if limits.shape != (2,) or not np.isfinite(limits).all() or limits[0] >= limits[1]:
            msg = (
                f"limits of the axis {self.name!r} are two finite numbers in rising order, not {self.limits}"
            )
            raise DataError(msg)
        if self.scale == "log" and limits[0] <= 0:
            msg = f"limits of the logarithmic axis {self.name!r} are positive, not {self.limits}"
            raise DataError(msg)
        object.__setattr__(self, "limits", (float(limits[0]), float(limits[1])))

    @property
    def label(self) -> str:
        """Name and unit, as they stand at the axis: ``flux (µJy)``."""
        unit = _SPELLED.get(self.unit, self.unit)
        return f"{self.name} ({unit})" if unit else self.name


@dataclass(frozen=True, eq=False, repr=False)
class Curve:
    """Values over an axis.

    Parameters
    ----------
    label
        In the legend; empty for none.
    x, y
        Shape (n,); a value that is not finite is a gap.
    y_error
        One standard deviation, shape (n,), or None; NaN where it is unknown.
    flags
        Bool, shape (n,): points that are not to be trusted, shown hollow and grey.
    style
        ``steps`` change halfway between two points; ``bars`` stand on zero and are as wide as the least distance in x.
    colour
        A role: one of `ROLES`, or ``band g``; None leaves the choice to who draws.
    text
        What is said of each point when it is pointed at, n texts.
    hidden
        Whether it is shown only when asked for.

    Raises
    ------
    DataError
        If lengths differ, an error is negative, or style or colour are unknown.
    """

    label: str
    x: Array
    y: Array
    y_error: Array | None = None
    flags: Array | None = None
    style: Style = "points"
    colour: str | None = None
    text: Sequence[str] | None = None
    hidden: bool = False

    def __post_init__(self) -> None:
        what = f"the curve {self.label!r}"
        _known("style", self.style, get_args(Style))
        _role(what, self.colour)
        for name in ("x", "y", "y_error"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _numbers(f"{name} of {what}", getattr(self, name), ndim=1))
        if self.flags is not None:
            object.__setattr__(self, "flags", _copy(f"flags of {what}", self.flags, np.bool_))
        if self.text is not None:
            object.__setattr__(self, "text", tuple(map(str, self.text)))
        lengths = {
            name: np.shape(getattr(self, name))
            for name in ("x", "y", "y_error", "flags", "text")
            if getattr(self, name) is not None
        }
        if len(set(lengths.values())) > 1:
            msg = f"columns of {what} are equally long, not {lengths}"
            raise DataError(msg)
        if self.y_error is not None and bool((self.y_error < 0).any()):
            msg = f"an error of {what} is negative: {float(np.nanmin(self.y_error)):g}; say NaN where it is unknown"
            raise DataError(msg)

    def __len__(self) -> int:
        return len(self.x)

    def __repr__(self) -> str:
        return f"<Curve {self.label!r} of {len(self)} {self.style}>"


@dataclass(frozen=True)
class Mark:
    """Something pointed out in a panel.

    Parameters
    ----------
    kind
        ``line`` across at an x or a y, or between two points; ``span`` between two x or two y; ``point``; ``box``.
    x, x_end, y, y_end
        Where, in the units of the axes; those that the kind needs, the others None.
    label
        Beside it; empty for none.
    colour
        A role, as of a `Curve`.

    Raises
    ------
    DataError
        If the kind or the colour is unknown, a number is missing or too many, or one is not finite.
    """

    kind: MarkKind = "line"
    x: float | None = None
    x_end: float | None = None
    y: float | None = None
    y_end: float | None = None
    label: str = ""
    colour: str = "event"

    def __post_init__(self) -> None:
        what = f"the mark {self.label!r}"
        _known("kind of mark", self.kind, get_args(MarkKind))
        _role(what, self.colour)
        given = {
            name: value for name in ("x", "x_end", "y", "y_end") if (value := getattr(self, name)) is not None
        }
        if frozenset(given) not in _PLACES[self.kind]:
            needs = " or ".join(", ".join(sorted(places)) for places in _PLACES[self.kind])
            msg = f"{what}, a {self.kind}, has {needs}; not {', '.join(sorted(given)) or 'nothing'}"
            raise DataError(msg)
        for name, value in given.items():
            if not np.isfinite(value):
                msg = f"{name} of {what} is {value}, not a finite number"
                raise DataError(msg)
            object.__setattr__(self, name, float(value))


@dataclass(frozen=True, eq=False)
class Series:
    """Curves over one axis.

    Parameters
    ----------
    title
        Above the panel.
    x, y
        The axes.
    curves, marks
        What is drawn in them; later ones lie on top.
    fold
        Period in units of x by which the panel may be folded, or None.
    note
        A sentence below the panel.
    equal
        Whether a length is the same on both axes, as on the sky.

    Raises
    ------
    DataError
        If the period is not a positive number.
    """

    title: str
    x: Axis
    y: Axis
    curves: Sequence[Curve]
    marks: Sequence[Mark] = ()
    fold: float | None = None
    note: str = ""
    equal: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "curves", tuple(self.curves))
        object.__setattr__(self, "marks", tuple(self.marks))
        if self.fold is not None and not (np.isfinite(self.fold) and self.fold > 0):
            msg = f"the panel {self.title!r} cannot be folded by {self.fold}: a period is a positive number"
            raise DataError(msg)


@dataclass(frozen=True, eq=False, repr=False)
class Heatmap:
    """Values over two axes.

    Parameters
    ----------
    title
        Above the panel.
    x, y
        The axes.
    values
        Shape (ny, nx), the first row lowest; NaN where there is none.
    x_edges, y_edges
        Borders of the cells, shapes (nx + 1,) and (ny + 1,), rising. From `extent` if they are not given.
    extent
        First and last border in x, then in y, of cells of equal size; by default the cells are counted.
    value
        What the colours count; its limits are where they end.
    stretch
        From value to colour: ``zscale`` chooses limits that show what is faint, ``symmetric`` puts 0 in the middle.
    marks
        What is pointed out.
    note
        A sentence below the panel.
    text
        What is written in the cells, ny rows of nx texts, or None.

    Raises
    ------
    DataError
        If the shapes do not fit together, borders do not rise or the stretch is unknown.
    """

    title: str
    x: Axis
    y: Axis
    values: Array
    x_edges: Array = None  # type: ignore[assignment] # there in every heatmap, given or not
    y_edges: Array = None  # type: ignore[assignment]
    extent: tuple[float, float, float, float] = None  # type: ignore[assignment]
    value: Axis = field(default_factory=lambda: Axis("value"))
    stretch: Stretch = "linear"
    marks: Sequence[Mark] = ()
    note: str = ""
    text: Sequence[Sequence[str]] | None = None

    def __post_init__(self) -> None:
        what = f"the panel {self.title!r}"
        _known("stretch", self.stretch, get_args(Stretch))
        object.__setattr__(self, "values", _numbers(f"values of {what}", self.values, ndim=2))
        object.__setattr__(self, "marks", tuple(self.marks))
        if self.text is not None:
            text = tuple(tuple(map(str, row)) for row in self.text)
            if [len(row) for row in text] != [self.values.shape[1]] * len(self.values):
                msg = f"the text of {what} has rows of {[len(row) for row in text]} for values {self.values.shape}"
                raise DataError(msg)
            object.__setattr__(self, "text", text)
        extent = _extent(what, self.extent, self.values.shape)
        object.__setattr__(self, "extent", extent)
        for name, n, (low, high) in zip(
            ("x_edges", "y_edges"), self.values.shape[::-1], (extent[:2], extent[2:]), strict=True
        ):
            given = getattr(self, name)
            edges = _numbers(
                f"{name} of {what}", np.linspace(low, high, n + 1) if given is None else given, ndim=1
            )
            if edges.shape != (n + 1,) or not np.isfinite(edges).all() or bool((np.diff(edges) <= 0).any()):
                msg = f"{name} of {what} are {n + 1} finite numbers that rise, for values of shape {self.values.shape}"
                raise DataError(msg)
            object.__setattr__(self, name, edges)
        borders = (self.x_edges[0], self.x_edges[-1], self.y_edges[0], self.y_edges[-1])
        object.__setattr__(self, "extent", tuple(float(border) for border in borders))

    def __repr__(self) -> str:
        return f"<Heatmap {self.title!r} of {' x '.join(map(str, self.values.shape))} values>"


@dataclass(frozen=True, eq=False, repr=False)
class ImageStack:
    """Images of one field, one after the other: a film.

    Parameters
    ----------
    title
        Above the panel.
    images
        Shape (n, ny, nx), the first row lowest; NaN where nothing is seen.
    labels
        What is said of each image, n texts.
    x, y
        The axes, in pixels or arcsec.
    marks
        For each image, what is pointed out in it; empty if nothing is in any.
    stretch
        As of a `Heatmap`, the same for all images.
    masks
        Name to bool, shape (n, ny, nx) or, the same for all, (ny, nx): pixels that are shown when asked for.
    note
        A sentence below the panel.
    extent
        First and last border in x, then in y; by default pixels are counted, the centre of the first one 0.
    value
        What the colours count.
    start
        Number of the image that is shown first.

    Raises
    ------
    DataError
        If the shapes do not fit together or the stretch is unknown.
    """

    title: str
    images: Array
    labels: Sequence[str]
    x: Axis = field(default_factory=lambda: Axis("x", "pixel"))
    y: Axis = field(default_factory=lambda: Axis("y", "pixel"))
    marks: Sequence[Sequence[Mark]] = ()
    stretch: Stretch = "zscale"
    masks: Mapping[str, Array] = field(default_factory=dict)
    note: str = ""
    extent: tuple[float, float, float, float] = None  # type: ignore[assignment] # there in every stack
    value: Axis = field(default_factory=lambda: Axis("value"))
    start: int = 0

    def __post_init__(self) -> None:
        what = f"the panel {self.title!r}"
        _known("stretch", self.stretch, get_args(Stretch))
        object.__setattr__(self, "images", _numbers(f"images of {what}", self.images, ndim=3))
        object.__setattr__(self, "labels", tuple(map(str, self.labels)))
        n = len(self.images)
        object.__setattr__(self, "marks", tuple(tuple(some) for some in self.marks) or ((),) * n)
        for name in ("labels", "marks"):
            if len(getattr(self, name)) != n:
                msg = f"{what} has {n} images and {name} for {len(getattr(self, name))}"
                raise DataError(msg)
        if self.start and not 0 <= self.start < n:
            msg = f"{what} has {n} images, counted from 0, and none of number {self.start}"
            raise DataError(msg)
        masks = {
            str(name): _copy(f"mask {name} of {what}", mask, np.bool_) for name, mask in self.masks.items()
        }
        for name, mask in masks.items():
            if mask.shape not in (self.images.shape, self.images.shape[1:]):
                msg = f"mask {name} of {what} has shape {mask.shape}, the images {self.images.shape}"
                raise DataError(msg)
        object.__setattr__(self, "masks", masks)
        object.__setattr__(self, "extent", _extent(what, self.extent, self.images.shape[1:]))

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        n, *shape = self.images.shape
        return f"<ImageStack {self.title!r} of {n} images of {' x '.join(map(str, shape))} pixels>"


@dataclass(frozen=True)
class Facts:
    """A small table of what is known.

    Parameters
    ----------
    title
        Above the panel.
    rows
        Name, value and unit of each; the value is text, a number, a truth or None, the unit may be empty.
    note
        A sentence below the panel.

    Raises
    ------
    DataError
        If a row is anything else.
    """

    title: str
    rows: Sequence[tuple[str, str | float | bool | None, str]]
    note: str = ""

    def __post_init__(self) -> None:
        rows = []
        for row in self.rows:
            if len(row) != 3 or not (isinstance(row[0], str) and isinstance(row[2], str)):
                msg = f"a row of the panel {self.title!r} is a name, a value and a unit, not {row!r}"
                raise DataError(msg)
            name, value, unit = row
            if isinstance(value, np.generic):
                value = value.item()
            if value is not None and not isinstance(value, str | bool | int | float):
                msg = f"{name} of the panel {self.title!r} is text, a number, a truth or None, not {value!r}"
                raise DataError(msg)
            rows.append((name, value, _SPELLED.get(unit, unit)))
        object.__setattr__(self, "rows", tuple(rows))


Panel: TypeAlias = Series | Heatmap | ImageStack | Facts


def _known(what: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        msg = f"unknown {what} {value!r}; there are {', '.join(known)}"
        raise DataError(msg)


def _role(what: str, role: str | None) -> None:
    if role is not None and role not in ROLES and not role.startswith("band "):
        msg = f"unknown colour {role!r} of {what}; there are {', '.join(ROLES)} and 'band' with the name of a filter"
        raise DataError(msg)


def _copy(what: str, values: ArrayLike, dtype: type[np.generic]) -> Array:
    """Return an own copy that nobody can change."""
    try:
        copied: Array = np.array(values, dtype=dtype)
    except (TypeError, ValueError) as error:
        msg = f"{what} are not numbers: {error}"
        raise DataError(msg) from error
    copied.flags.writeable = False
    return copied


def _numbers(what: str, values: ArrayLike, *, ndim: int) -> NDArray[np.float64]:
    numbers = _copy(what, values, np.float64)
    if numbers.ndim != ndim:
        msg = f"{what} have {ndim} axes, not shape {numbers.shape}"
        raise DataError(msg)
    return numbers


def _extent(
    what: str, extent: tuple[float, float, float, float] | None, shape: tuple[int, ...]
) -> tuple[float, float, float, float]:
    """Return the borders of an image of a shape (ny, nx), pixels counted from 0 where none are given."""
    ny, nx = shape
    borders = np.asarray(
        (-0.5, max(nx, 1) - 0.5, -0.5, max(ny, 1) - 0.5) if extent is None else extent, dtype=np.float64
    )
    if (
        borders.shape != (4,)
        or not np.isfinite(borders).all()
        or borders[0] >= borders[1]
        or borders[2] >= borders[3]
    ):
        msg = f"extent of {what} is lowest and highest x, lowest and highest y, all finite, not {extent}"
        raise DataError(msg)
    left, right, bottom, top = (float(border) for border in borders)
    return left, right, bottom, top
