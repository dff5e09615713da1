"""Files to start from: configurations that come with the package, and templates of new ones."""

from __future__ import annotations

import keyword
import re
from pathlib import Path
from typing import Literal, TypeAlias

from virtualobserver import plugins
from virtualobserver.config.yamlfile import locate
from virtualobserver.errors import ConfigError
from virtualobserver.io.atomic import write_bytes

__all__ = [
    "SurveyData",
    "configs_dir",
    "demonstrations",
    "find_config",
    "new_analysis",
    "new_project",
    "new_survey",
]

SurveyData: TypeAlias = Literal["curves", "spectra", "frames"]

_TEMPLATES = Path(__file__).parent / "templates"


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


def new_project(name: str, folder: Path, *, force: bool = False) -> Path:
    """Write a commented configuration ``<name>.yaml`` and return its path.

    Raises
    ------
    ConfigError
        The name cannot be one, or there is such a file.
    """
    return _write(folder / f"{_checked(name)}.yaml", "project.yaml", name, force=force)


def new_survey(
    name: str, folder: Path, *, data: SurveyData = "curves", force: bool = False
) -> tuple[Path, Path]:
    """Write a survey ``<name>.py`` that works and ``test_<name>.py``; return both paths.

    Parameters
    ----------
    data
        What it makes: light curves, spectra, or the frames of a camera with masters.

    Raises
    ------
    ConfigError
        The name cannot be one or is taken, or there is such a file.
    """
    template = "survey" if data == "curves" else f"survey_{data}"
    return _write_plugin(name, folder, template, "observatories", force=force)


def new_analysis(name: str, folder: Path, *, force: bool = False) -> tuple[Path, Path]:
    """Write an analysis ``<name>.py`` that works and ``test_<name>.py``; return both paths.

    Raises
    ------
    ConfigError
        The name cannot be one or is taken, or there is such a file.
    """
    return _write_plugin(name, folder, "analysis", "analyses", force=force)


def _write_plugin(
    name: str, folder: Path, what: str, kind: plugins.Kind, *, force: bool
) -> tuple[Path, Path]:
    if _checked(name) in plugins.names(kind):
        msg = f"there is a plug-in {name!r} already ({', '.join(plugins.names(kind))}); take another name"
        raise ConfigError(msg)
    paths = folder / f"{name}.py", folder / f"test_{name}.py"
    for path in paths:
        _refuse(path, force=force)
    return (
        _write(paths[0], f"{what}.py.txt", name, force=force),
        _write(paths[1], f"test_{what}.py.txt", name, force=force),
    )


def _checked(name: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        msg = f"{name!r} cannot be the name: small letters, digits and underscores, a letter first"
        raise ConfigError(msg)
    return name


def _refuse(path: Path, *, force: bool) -> None:
    if path.exists() and not force:
        msg = f"{path} is there already; --force writes over it"
        raise ConfigError(msg)


def _write(path: Path, template: str, name: str, *, force: bool) -> Path:
    _refuse(path, force=force)
    text = (_TEMPLATES / template).read_text(encoding="utf-8")
    title = "".join(part.capitalize() for part in name.split("_"))
    write_bytes(path, text.replace("@name@", name).replace("@Name@", title).encode())
    return path
