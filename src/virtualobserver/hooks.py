"""What lower layers ask of upper ones: places for functions that the package fills from above.

A container can be drawn and knows a FITS header, yet imports neither pictures nor files: it calls a hook. Each is
filled in the first lines of the package, with a function that imports its layer when it is called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from virtualobserver.typing import Record, RecordDict

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Hook", "draw", "fits_header", "plain_header"]


P = ParamSpec("P")
R = TypeVar("R")


class Hook(Generic[P, R]):
    """A function that is given later, once; until then calling it is an error.

    Parameters
    ----------
    does
        What it is for, in the words of that error.
    """

    def __init__(self, does: str) -> None:
        self._does = does
        self._function: Callable[P, R] | None = None

    def fill(self, function: Callable[P, R]) -> None:
        """Let this hook call `function`."""
        self._function = function

    def __call__(self, *args: P.args, **options: P.kwargs) -> R:
        """Call the function that was filled in."""
        if self._function is None:
            msg = f"nothing {self._does} here: no upper layer has filled the hook"
            raise RuntimeError(msg)
        return self._function(*args, **options)


draw: Hook[..., Figure] = Hook("draws")
"""Draw a container or a row as a figure; see `virtualobserver.plot.plot`."""

fits_header: Hook[[Record], Any] = Hook("makes FITS headers")
"""Return keywords and values as a header of FITS; see `virtualobserver.io.fits.headers.fits_header`."""

plain_header: Hook[[Any], RecordDict] = Hook("reads FITS headers")
"""Return a header of FITS, or any mapping, as plain values; see `virtualobserver.io.fits.headers.plain_header`."""
