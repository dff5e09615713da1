"""Positions as people have them: floats in degrees, quantities, or a `SkyCoord`."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import Signature, signature
from typing import Any, TypeVar

import numpy as np

from virtualobserver.errors import DataError

__all__ = ["takes_sky"]

R = TypeVar("R")


def takes_sky(*, radius: str = "deg", many: bool = False) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Make a function of ``ra`` and ``dec`` take quantities, and a `SkyCoord` in the place of both.

    ``f(coord, 5 * u.arcsec)`` is ``f(coord.icrs.ra.deg, coord.icrs.dec.deg, 5)``. An `astropy.time.Time` may stand
    for ``epoch``, a Julian year. Plain numbers go through as they are.

    Parameters
    ----------
    radius
        Unit of the function's parameter ``radius``.
    many
        Whether the function takes arrays of positions; the radius is one number always.

    Raises
    ------
    DataError
        By the function made: several positions or radii where one is meant, a `SkyCoord` beside a ``dec`` or in its
        place, or a quantity that is no angle.
    """
    units = {"ra": "deg", "dec": "deg", "radius": radius}

    def decorate(function: Callable[..., R]) -> Callable[..., R]:
        called = signature(function)
        names = list(called.parameters)
        place = names.index("ra")

        single = {"radius"} if many else {"ra", "dec", "radius"}

        @wraps(function)
        def call(*args: object, **named: object) -> R:
            values = list(args)
            both = False
            if len(values) > place and hasattr(values[place], "icrs"):
                both = True
                values[place : place + 1] = _of_coordinate(values[place])
            elif hasattr(named.get("ra"), "icrs"):
                both = True
                if "dec" not in named:
                    named["ra"], named["dec"] = _of_coordinate(named["ra"])
            if both:
                _check_once(function.__name__, called, values, named)
            values = [
                _one(name, _plain(name, value, units), single)
                for name, value in zip(names, values, strict=False)
            ] + values[len(names) :]
            given = {name: _one(name, _plain(name, value, units), single) for name, value in named.items()}
            return function(*values, **given)

        return call

    return decorate


def _check_once(function: str, called: Signature, values: list[object], named: dict[str, object]) -> None:
    """Refuse a `SkyCoord` beside a declination, for which there is no room."""
    try:
        if hasattr(named.get("ra"), "icrs"):
            msg = "multiple values for 'dec'"
            raise TypeError(msg)
        called.bind(*values, **named)
    except TypeError as error:
        msg = f"{function}: a SkyCoord stands in the place of ra and dec, so leave dec out: {error}"
        raise DataError(msg) from None


def _one(name: str, value: Any, single: set[str]) -> Any:
    """Refuse an array where one number is meant."""
    if name in single and np.ndim(value):
        msg = f"{name} has the shape {np.shape(value)} where one number is meant; ask for each by itself"
        raise DataError(msg)
    return value


def _of_coordinate(coordinate: Any) -> tuple[Any, Any]:
    icrs = coordinate.icrs
    return icrs.ra.deg, icrs.dec.deg


def _plain(name: str, value: object, units: dict[str, str]) -> Any:
    if name in units and hasattr(value, "icrs"):
        msg = f"{name} is a SkyCoord, which stands in the place of ra and dec both"
        raise DataError(msg)
    if name in units and hasattr(value, "to_value"):
        try:
            return value.to_value(units[name])
        except ValueError as error:
            msg = f"{name} is {value}, which is no angle: {error}"
            raise DataError(msg) from error
    return value.jyear if name == "epoch" and hasattr(value, "jyear") else value
