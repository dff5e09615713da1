"""Files to start from: a configuration, a survey or an analysis of a new name, made from a template."""

from __future__ import annotations

import keyword
import re
import sys
from pathlib import Path
from typing import Literal, TypeAlias

from virtualobserver import plugins
from virtualobserver.errors import ConfigError
from virtualobserver.io.atomic import write_bytes

__all__ = [
    "SurveyData",
    "new_analysis",
    "new_project",
    "new_project_of",
    "new_survey",
]

SurveyData: TypeAlias = Literal["curves", "spectra", "frames"]

_TEMPLATES = Path(__file__).parent / "templates"


def new_project(name: str, folder: Path, *, force: bool = False) -> Path:
    """Write a commented configuration ``<name>.yaml`` and return its path.

    Raises
    ------
    ConfigError
        The name cannot be one, or there is such a file.
    """
    return _write(folder / f"{_checked(name)}.yaml", "project.yaml", name, force=force)


def new_project_of(survey: str, folder: Path, *, force: bool = False) -> Path:
    """Write what a survey brings to start from, folders and all, and return the path of the configuration.

    It is the folder ``project`` beside the survey's code; ``@name@`` becomes the name of `folder`.

    Raises
    ------
    ConfigError
        The survey brings none, the name cannot be one, or a file is there already.
    """
    module = sys.modules[plugins.load("observatories", survey).__module__]
    place = Path(str(module.__file__)).parent / "project"
    if not place.is_dir():
        msg = (
            f"the survey {survey!r} brings no project to start from; `vo new project NAME` writes a plain one"
        )
        raise ConfigError(msg)
    name = _checked(folder.resolve().name)
    parts = [path for path in sorted(place.rglob("*")) if path.is_file()]
    targets = [folder / str(path.relative_to(place)).replace("@name@", name) for path in parts]
    for target in targets:
        _refuse(target, force=force)
    for path, target in zip(parts, targets, strict=True):
        target.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(target, path.read_text(encoding="utf-8").replace("@name@", name).encode())
    return folder / f"{name}.yaml"


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
