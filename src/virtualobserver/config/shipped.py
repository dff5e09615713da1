"""The configurations that come with the package."""

from __future__ import annotations

from pathlib import Path

from virtualobserver.config.yamlfile import locate
from virtualobserver.errors import ConfigError

__all__ = ["configs_dir", "demonstrations", "find_config"]


def configs_dir() -> Path | None:
    """Return the folder of the configurations that come with the package, if it is there."""
    package = Path(__file__).resolve().parents[1]
    for place in (package / "_configs", package.parents[1] / "configs"):
        if (place / "demo.yaml").is_file():
            return place
    return None


def demonstrations() -> list[str]:
    """Return the names of the configurations that need neither a network nor data: ``demo``, then one a survey."""
    place = configs_dir()
    found = sorted(path.stem for path in place.glob("*_demo.yaml")) if place else []
    return ["demo", *found]


def find_config(name: str | Path) -> Path:
    """Find a configuration as `Project.open` does, else among those that come with the package.

    Raises
    ------
    ConfigError
        There is none; the message names the nearest.
    """
    try:
        return locate(name)
    except ConfigError:
        ours = configs_dir()
        if ours is None or len(Path(name).parts) > 1:
            raise
        path = ours / f"{Path(name).name.removesuffix('.yaml')}.yaml"
        if not path.is_file():
            raise
        return path
