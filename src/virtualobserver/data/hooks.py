"""The hook through which containers and rows draw themselves without knowing the plot layer."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

__all__ = ["draw"]


def draw(thing: Any, **options: Any) -> Any:
    """Draw a container or a row with the function of the plot layer that fits its ``kind``.

    The layer is looked up by name when it is needed, so nothing below it imports it.
    """
    plot: Callable[..., Any] = import_module("virtualobserver.plot").plot
    return plot(thing, **options)
