"""Settings of the search for asteroids."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic

from virtualobserver.analysis import AnalysisSettings, SimulateSettings
from virtualobserver.config.settings import PositiveRange, Site, setting

__all__ = ["AsteroidInjection", "AsteroidsSettings"]


def _service(said: object) -> object:
    """Take the word ``none`` for what YAML calls null."""
    return None if isinstance(said, str) and said.strip().lower() == "none" else said


class AsteroidInjection(SimulateSettings):
    """Which bodies are injected to measure how many come out whole."""

    distance: PositiveRange = setting(
        (0.8, 2.5),
        doc="From the telescope; bodies go round the Sun on orbits like those of the main belt, seen at their place",
        unit="au",
        step="simulate",
    )


class AsteroidsSettings(AnalysisSettings):
    """Settings of the search for asteroids."""

    identify: Annotated[str | None, pydantic.BeforeValidator(_service)] = setting(
        None,
        doc="Where known bodies come from: skybot (asks the service of IMCCE), orbits of the data folder such as "
        "mpcorb@2026-11, or none",
        step="analyse",
    )
    nights: Literal["together", "separate"] = setting(
        "together",
        doc="Movers of different nights that are one body become one source; or each night has its own",
        step="analyse",
    )
    longest_gap: float = setting(
        3.5,
        doc="Between two nights of a body that is not known; further on predictions are too wide",
        unit="d",
        step="analyse",
        gt=0,
    )
    numbers: Literal["asteroids"] | None = setting(
        "asteroids",
        doc="Whose numbers are kept: what has one keeps it, also where an earlier night joins; none = the number is "
        "that of the first mover, whatever was said before",
        step="analyse",
    )
    certain: int = setting(
        5,
        doc="Detections from which a mover that is not known is called an asteroid (AST) before anybody looked "
        "at it, as is one seen in two nights; others are called unknown (UNK)",
        step="analyse",
        ge=2,
    )
    mpc_code: str = setting(
        "",
        doc="The observatory's code at the Minor Planet Center; empty = as the images say",
        step="analyse",
        pattern=r"^([0-9A-Z][0-9]{2})?$",
    )
    site: Site | None = setting(
        None,
        doc="Longitude (east, deg), latitude (deg) and height (m) of the telescope; unset = as the images say",
        step="analyse",
    )
    simulate: AsteroidInjection = setting(AsteroidInjection(), doc="Injection and recovery", step="simulate")
