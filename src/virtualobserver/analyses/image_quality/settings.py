"""Settings of the quality of images."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal

import pydantic

from virtualobserver.analysis import AnalysisSettings
from virtualobserver.config.settings import Settings, setting
from virtualobserver.typing import Value

__all__ = ["OutlierSettings", "QualitySettings"]

_ACTIONS: Final = re.compile(r"drop|keep|stop|retry\(([1-9])\)")


def _action(said: str) -> str:
    """Refuse what is no action."""
    word = said.strip().lower()
    if not _ACTIONS.fullmatch(word):
        msg = f"{said!r} is no action; there are drop, keep, stop and retry(n) with n from 1 to 9"
        raise ValueError(msg)
    return word


class OutlierSettings(Settings):
    """What an outlier is, and what becomes of it."""

    rule: Literal["robust", "boxplot"] = setting(
        "robust",
        doc="robust: separations beyond the third quartile by 1.5 quartile ranges, and other numbers more than `limit` "
        "robust deviations off, by more than nights differ anyway; boxplot: beyond the quartiles by 1.5 of their range",
        step="analyse",
    )
    limit: float = setting(4.0, doc="Of the robust rule", unit="sigma", step="analyse", gt=0)
    action: Annotated[str, pydantic.AfterValidator(_action)] = setting(
        "drop",
        doc="drop: outliers are left out of searches; keep: only marked; stop: the night fails, and searches wait, "
        "until somebody has looked; retry(n): those whose stars are off, or that have no world coordinates, are solved "
        "anew with the pointing and the stars of up to n neighbours, and dropped if they still stand out",
        step="analyse",
    )
    fewest: int = setting(4, doc="Images of one filter that are compared", step="analyse", ge=3)

    @pydantic.model_validator(mode="before")
    @classmethod
    def _as_in_autossos(cls, given: Value) -> Value:
        """Take RECALIB, by which each outlier is solved once more or left out as it is."""
        if not isinstance(given, Mapping) or "RECALIB" not in given:
            return given
        again = given["RECALIB"]
        if "action" in given:
            msg = "RECALIB and action are two values for one setting; give one of them"
            raise ValueError(msg)
        if not isinstance(again, bool):
            msg = f"RECALIB should be true (action: retry(1)) or false (action: drop), not {again!r}"
            raise ValueError(msg)
        rest = {key: value for key, value in given.items() if key != "RECALIB"}
        return rest | {"action": "retry(1)" if again else "drop"}

    @property
    def tries(self) -> int:
        """How often an image is solved anew."""
        found = _ACTIONS.fullmatch(self.action)
        return int(found.group(1) or 0) if found else 0


class QualitySettings(AnalysisSettings):
    """Settings of the quality of images."""

    outliers: OutlierSettings = setting(
        OutlierSettings(), doc="Images unlike the others of their night", step="analyse"
    )
