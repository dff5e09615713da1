"""The services of a step: what surveys and analyses may ask besides their inputs, made once in a process.

A plug-in names those it uses, ``services = ("refcat", "solver")``, and has the setting ``refcat``, such as
``gaia_dr3@2022``. They arrive in ``aux.services``, each made when it is first asked for. Where the setting may
be None, and is, none arrives: the plug-in then does without.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from virtualobserver.errors import ConfigError, PluginError

if TYPE_CHECKING:
    from virtualobserver.catalog.reference import ReferenceCatalogue
    from virtualobserver.catalog.solver import CatalogueSolver
    from virtualobserver.run.steps import Step
    from virtualobserver.run.workspace import Workspace

__all__ = ["KNOWN", "build_services"]


@dataclass(frozen=True)
class Services(Mapping[str, Any]):
    """Services by name, made when asked for: masters are made although a catalogue is missing.

    Parameters
    ----------
    names
        Those that the plug-in uses.
    root
        The data folder.
    refcat
        Name of the reference catalogue.

    Raises
    ------
    CatalogError
        When one is asked for, if there is no such reference catalogue.
    """

    names: tuple[str, ...]
    root: Path
    refcat: str

    def __getitem__(self, name: str) -> Any:
        if name not in self.names:
            raise KeyError(name)
        return KNOWN[name](self.root, self.refcat)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def build_services(workspace: Workspace, step: Step) -> Mapping[str, Any]:
    """Return the services a step's plug-in asks for, by name; nothing is opened before it is used.

    Raises
    ------
    PluginError
        If it asks for one that is not known, or has no setting ``refcat``.
    ConfigError
        If the setting is empty; None is no error: the plug-in does without.
    """
    plugin = step.instance
    wanted: tuple[str, ...] = getattr(plugin, "services", ())
    if not wanted:
        return MappingProxyType({})
    if strange := [name for name in wanted if name not in KNOWN]:
        msg = f"{step.plugin} asks for services that are not known: {', '.join(strange)}; there are {', '.join(KNOWN)}"
        raise PluginError(msg)
    name = _refcat_of(step)
    return MappingProxyType({}) if name is None else Services(wanted, workspace.root, name)


def _refcat_of(step: Step) -> str | None:
    if not hasattr(step.instance.settings, "refcat"):
        msg = f"{step.plugin} asks for a reference catalogue but has no setting refcat"
        raise PluginError(msg)
    name = step.instance.settings.refcat
    if name is None:
        return None
    if not name:
        msg = f"{step.plugin}: set refcat to a reference catalogue, e.g. gaia_dr3@2022; `vo refcat list` shows them"
        raise ConfigError(msg)
    return str(name)


@lru_cache(maxsize=8)
def _refcat(root: Path, name: str) -> ReferenceCatalogue:
    from virtualobserver.catalog.refcat import open_refcat

    return open_refcat(name, root)


def _solver(root: Path, name: str) -> CatalogueSolver:
    from virtualobserver.catalog.solver import CatalogueSolver

    return CatalogueSolver(_refcat(root, name))


KNOWN: Final[Mapping[str, Callable[[Path, str], Any]]] = MappingProxyType(
    {"refcat": _refcat, "solver": _solver}
)
"""How each service is made from the data folder and the name of the reference catalogue."""
