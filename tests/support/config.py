"""A small survey and a small analysis to configure, with nothing behind them."""

from __future__ import annotations

from typing import Any

from virtualobserver.config import AnalysisSettings, Settings, setting
from virtualobserver.errors import PluginError


class SkySettings(Settings):
    """Settings of a survey called sky."""

    radius: float = setting(
        2.0, step="fetch", unit="arcsec", gt=0, le=60, aliases=("cone_radius",), doc="Search radius"
    )
    gap: float = setting(40.0, step="reduce", unit="d", gt=0, doc="Gap between seasons")
    clip: float = setting(3.0, step="reduce.photometry", doc="Clip")
    drop_bad: bool = setting(False, step="reduce", doc="Drop flagged epochs")
    bands: tuple[str, ...] = setting(("g", "r"), step="reduce", doc="Bands")
    archive: str | None = setting(None, run_only=True, doc="Folder in place of the archive")


class OtherSettings(Settings):
    """Settings of a survey called other."""

    gap: float = setting(10.0, step="reduce", unit="d", doc="Gap")


class FlareSettings(AnalysisSettings):
    """Settings of an analysis called flares."""

    threshold: float = setting(5.0, step="analyse", ge=0, doc="Signal to noise")


CLASSES: dict[tuple[str, str], type[Settings]] = {
    ("observatories", "sky"): SkySettings,
    ("observatories", "other"): OtherSettings,
    ("analyses", "flares"): FlareSettings,
}


def resolve(kind: Any, name: str, /) -> type[Settings]:
    """Stand in for `virtualobserver.plugins.settings_of`."""
    try:
        return CLASSES[kind, name]
    except KeyError:
        msg = f"there is no {name!r} among {kind}; did you mean 'sky'?"
        raise PluginError(msg) from None
