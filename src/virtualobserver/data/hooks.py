"""The hooks through which containers reach layers above them: they are looked up by name when they are needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

__all__ = ["draw", "fits_header", "plain_header"]


def draw(thing: Any, **options: Any) -> Any:
    """Draw a container or a row with the function of the plot layer that fits its ``kind``.

    The layer is looked up by name when it is needed, so nothing below it imports it.
    """
    plot: Callable[..., Any] = import_module("virtualobserver.plot").plot
    return plot(thing, **options)


def fits_header(cards: Mapping[str, Any]) -> Any:
    """Return keywords and values as `astropy.io.fits.Header`; see `virtualobserver.io.fits.headers`."""
    return import_module("virtualobserver.io.fits.headers").fits_header(cards)


def plain_header(header: Any) -> dict[str, Any]:
    """Return a header of astropy, or any mapping, as plain values; see `virtualobserver.io.fits.headers`."""
    plain: dict[str, Any] = import_module("virtualobserver.io.fits.headers").plain_header(header)
    return plain
