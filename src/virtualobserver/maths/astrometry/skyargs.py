"""Positions as people have them: floats in degrees, quantities, or a `SkyCoord`."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import Any, TypeVar

from virtualobserver.errors import DataError

__all__ = ["takes_sky"]

R = TypeVar("R")


def takes_sky(*, radius: str = "deg") -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Make a function of ``ra`` and ``dec`` take quantities, and a `SkyCoord` in the place of both.

    ``f(coord, 5 * u.arcsec)`` is ``f(coord.icrs.ra.deg, coord.icrs.dec.deg, 5)``. An `astropy.time.Time` may stand
    for ``epoch``, a Julian year. Plain numbers go through as they are.

    Parameters
    ----------
    radius
        Unit of the function's parameter ``radius``.
    """
    units = {"ra": "deg", "dec": "deg", "radius": radius}

    def decorate(function: Callable[..., R]) -> Callable[..., R]:
        names = list(signature(function).parameters)
        place = names.index("ra")

        @wraps(function)
        def call(*args: object, **named: object) -> R:
            values = list(args)
            if len(values) > place and hasattr(values[place], "icrs"):
                values[place : place + 1] = _of_coordinate(values[place])
            elif hasattr(named.get("ra"), "icrs"):
                named["ra"], named["dec"] = _of_coordinate(named["ra"])
            values = [
                _plain(name, value, units) for name, value in zip(names, values, strict=False)
            ] + values[len(names) :]
            return function(*values, **{name: _plain(name, value, units) for name, value in named.items()})

        return call

    return decorate


def _of_coordinate(coordinate: Any) -> tuple[Any, Any]:
    icrs = coordinate.icrs
    return icrs.ra.deg, icrs.dec.deg


def _plain(name: str, value: object, units: dict[str, str]) -> Any:
    if name in units and hasattr(value, "to_value"):
        try:
            return value.to_value(units[name])
        except ValueError as error:
            msg = f"{name} is {value}, which is no angle: {error}"
            raise DataError(msg) from error
    return value.jyear if name == "epoch" and hasattr(value, "jyear") else value
