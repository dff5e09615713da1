"""The services of a step: what surveys and analyses may ask besides their inputs, made once in a process.

A plug-in names those it uses, ``services = ("refcat", "solver")``, and has the setting ``refcat``, such as
``gaia_dr3@2022``. They arrive in ``aux.services``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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


def build_services(workspace: Workspace, step: Step) -> Mapping[str, Any]:
    """Return the services a step's plug-in asks for, by name; nothing is opened for those that ask for none.

    Raises
    ------
    PluginError
        If it asks for one that is not known, or has no setting ``refcat``.
    ConfigError
        If the setting is empty.
    CatalogError
        If there is no such reference catalogue.
    """
    plugin = step.instance
    wanted: tuple[str, ...] = getattr(plugin, "services", ())
    if not wanted:
        return MappingProxyType({})
    if strange := [name for name in wanted if name not in KNOWN]:
        msg = f"{step.plugin} asks for services that are not known: {', '.join(strange)}; there are {', '.join(KNOWN)}"
        raise PluginError(msg)
    return MappingProxyType({name: KNOWN[name](workspace.root, _refcat_of(step)) for name in wanted})


def _refcat_of(step: Step) -> str:
    if not hasattr(step.instance.settings, "refcat"):
        msg = f"{step.plugin} asks for a reference catalogue but has no setting refcat"
        raise PluginError(msg)
    name = step.instance.settings.refcat
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
