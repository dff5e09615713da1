"""What has to be right before a project can run: the same for ``vo run`` and ``vo config``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pydantic

from virtualobserver import plugins
from virtualobserver.catalog import read_catalog
from virtualobserver.config.paths import nearest
from virtualobserver.config.settings import Settings, field_marks, leaves
from virtualobserver.errors import CatalogError, ConfigError
from virtualobserver.run.steps import Step, build_steps
from virtualobserver.run.tasks.services import check_services

if TYPE_CHECKING:
    from collections.abc import Sequence

    from virtualobserver.config import CatalogSettings
    from virtualobserver.config.load import Resolved

__all__ = [
    "UnreadSettings", "check_project", "missing_files", "missing_services", "settings_without_files", "survey_step",
    "targets_placed",
]  # fmt: skip

_AT_HAND = frozenset({"file", "rows", "test", None})
"""Origins of targets that are read without asking anybody; None is the error that nothing is named."""


class UnreadSettings(Settings):
    """The settings of a plug-in whose code was not run: taken as they stand."""

    model_config = pydantic.ConfigDict(extra="allow")


def settings_without_files(kind: plugins.Kind, name: str, /) -> type[Any]:
    """Return the class of a plug-in's settings, but run no file that is named by its path."""
    return UnreadSettings if name.endswith(".py") else plugins.settings_of(kind, name)


@contextmanager
def targets_placed(resolved: Resolved) -> Iterator[None]:
    """Say of what is wrong with a target list in which line of the configuration the list is named."""
    try:
        yield
    except CatalogError as error:
        key = f"catalog.{resolved.settings.catalog.origin}"
        places = [
            place for path, place in resolved.origins.items() if path == key or path.startswith(f"{key}.")
        ]
        if resolved.path is None or not places or not places[0].startswith(f"{resolved.path.name}:"):
            raise
        line = places[0].removeprefix(f"{resolved.path.name}:")
        msg = f"{resolved.path}:{line}: {error}"
        raise CatalogError(msg) from error


def check_project(resolved: Resolved) -> None:
    """Raise what a run of the project would raise before its first task; nobody is asked, nothing written.

    Target lists that an archive has to be asked for are not read.

    Raises
    ------
    ConfigError
        If the steps cannot be put in an order, or no survey of the project lists the targets.
    CatalogError
        If the target list is missing or cannot be used.
    """
    settings = resolved.settings
    steps = build_steps(settings)
    survey_step(settings.catalog, steps)
    if settings.catalog.origin in _AT_HAND:
        with targets_placed(resolved):
            read_catalog(settings.catalog)


def missing_files(resolved: Resolved) -> list[str]:
    """Say which files and folders that the settings of plug-ins name are not there: their tasks would fail."""
    found = []
    for leaf in leaves(resolved.settings):
        marks = field_marks(leaf.field)
        if not marks.path:
            continue
        for one in leaf.value if isinstance(leaf.value, list | tuple) else [leaf.value]:
            # other values are words, addresses, or what would stand in the file
            if isinstance(one, str | Path) and one not in marks.words and "://" not in str(one):
                path = Path(one).expanduser()
                if not path.exists():
                    key = ".".join(leaf.path)
                    place = resolved.origins[key]
                    at = f"{place}: " if ":" in place else ""
                    found.append(f"{at}{key}: {path} is not there{nearest(path)}")
    return found


def missing_services(resolved: Resolved, root: Path) -> list[str]:
    """Say what a run with a data folder would lack: reference catalogues, orbits, the right to write there."""
    found = [one for step in build_steps(resolved.settings) for one in check_services(root, step)]
    there = next(place for place in (root, *root.parents) if place.exists())
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        reason = "may not be written into" if there.is_dir() else "is a file, and a folder is needed"
        found.append(f"data folder {root}: {there} {reason}; name another one (--data)")
    return list(dict.fromkeys(found))


def survey_step(settings: CatalogSettings, steps: Sequence[Step]) -> Step | None:
    """Return the step of the survey that lists the targets; None if they come from elsewhere.

    Raises
    ------
    ConfigError
        If the project has no such survey.
    """
    if settings.survey is None:
        return None
    step = next((s for s in steps if s.kind == "fetch" and settings.survey in {s.plugin, s.entry}), None)
    if step is None:
        names = ", ".join(s.plugin for s in steps if s.kind == "fetch")
        msg = f"catalog.survey: the project has no survey {settings.survey!r}; it has {names or 'none'}"
        raise ConfigError(msg)
    return step
