"""The services of a step: what surveys and analyses may ask besides their inputs, made once in a process.

A plug-in names those it uses, ``services = ("refcat", "solver")``, and has a setting of the same name for each: the
reference catalogue, such as ``gaia_dr3@2022``, and that of the solver, which is the first where it has none of its
own. Known bodies of the solar system, ``bodies``, are those that its setting ``identify`` says; ``numbers`` are those
that what it finds was given before, of the analysis that its setting names. They arrive in
``aux.services``, each made when it is first asked for. One whose setting may be None, and is, does not arrive: the
plug-in then does without.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from virtualobserver.db.archive import DatabaseSeats, DatabaseSlots
from virtualobserver.errors import CatalogError, ConfigError, PluginError
from virtualobserver.typing import Record

if TYPE_CHECKING:
    from virtualobserver.catalog.bodies import KnownBodies
    from virtualobserver.catalog.reference import ReferenceCatalogue
    from virtualobserver.catalog.solver import CatalogueSolver
    from virtualobserver.db.engine import Database
    from virtualobserver.io.http.client import HttpClient
    from virtualobserver.run.steps import Step
    from virtualobserver.run.tasks.numbers import StoredNumbers
    from virtualobserver.run.workspace import Workspace

__all__ = ["KNOWN", "build_services", "check_services"]

_RATE: Final = 2.0
"""Requests per second to an archive of stars, as surveys have it by default."""
_BODY_RATE: Final = 1.0
"""Requests per second to SkyBoT; an answer takes it a second or two."""
_BODY_SEATS: Final = 2
"""Requests to SkyBoT under way at one time, of all workers: more are refused."""
_SKYBOT: Final = "skybot"
_ANSWERS: Final = "cache"
"""Folder, below the data folder, of what services answered."""


@dataclass(frozen=True)
class Services(Record):
    """Services by name, made when asked for: masters are made although a catalogue is missing.

    Parameters
    ----------
    said
        What the settings say for each, such as the name of a reference catalogue.
    workspace
        Whose data folder and database they use.

    Raises
    ------
    CatalogError
        When one is asked for, if there is no such reference catalogue, or no such orbits.
    """

    said: Mapping[str, str]
    workspace: Workspace

    def __getitem__(self, name: str) -> Any:
        return KNOWN[name].make(self.workspace, self.said[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self.said)

    def __len__(self) -> int:
        return len(self.said)


def build_services(workspace: Workspace, step: Step) -> Record:
    """Return the services a step's plug-in asks for, by name; nothing is opened before it is used.

    Raises
    ------
    PluginError
        If it asks for one that is not known, or has no setting for it.
    ConfigError
        If the setting is empty; None is no error: the plug-in does without.
    """
    said = _said(step)
    return Services(MappingProxyType(said), workspace) if said else MappingProxyType({})


def check_services(root: Path, step: Step) -> list[str]:
    """Say what a step will ask for that the data folder does not have; nobody is asked, nothing written.

    Raises
    ------
    PluginError
        As `build_services`.
    """
    from virtualobserver.catalog.orbits import SIMULATED, open_orbits
    from virtualobserver.catalog.refcat import open_refcat

    found = []
    try:
        for service, name in _said(step).items():
            if service in {"refcat", "solver"}:
                open_refcat(name, root)
            elif service == "bodies" and name not in {_SKYBOT, SIMULATED}:
                open_orbits(root, name)
    except (CatalogError, ConfigError) as error:
        found.append(f"{step.plugin}: {error}")
    return found


def _said(step: Step) -> dict[str, str]:
    plugin = step.instance
    wanted: tuple[str, ...] = getattr(plugin, "services", ())
    if strange := [name for name in wanted if name not in KNOWN]:
        msg = f"{step.plugin} asks for services that are not known: {', '.join(strange)}; there are {', '.join(KNOWN)}"
        raise PluginError(msg)
    return {name: value for name in wanted if (value := _setting_of(step, name)) is not None}


def _setting_of(step: Step, service: str) -> str | None:
    """Return what a plug-in's settings say for a service, None if it does without."""
    settings = step.instance.settings
    names = [name for name in (service, KNOWN[service].otherwise) if name and hasattr(settings, name)]
    if not names:
        wanted = KNOWN[service].otherwise or service
        msg = f"{step.plugin} asks for the service {service} but has no setting {wanted}"
        raise PluginError(msg)
    found = next((value for name in names if (value := getattr(settings, name)) is not None), None)
    if found is not None and not found:
        msg = f"{step.plugin}: set {names[0]} to {KNOWN[service].wanted}"
        raise ConfigError(msg)
    return None if found is None else str(found)


@dataclass(frozen=True)
class _SlottedClients:
    """Makes clients that take turns at archive hosts with all workers of a database."""

    database: Database
    rate: float = _RATE
    seats: int | None = None

    def __call__(self) -> HttpClient:
        # few steps ask an archive, and every worker would import it
        from virtualobserver.io.http.client import HttpClient
        from virtualobserver.io.http.ratelimit import SlotRateLimiter

        limiter = SlotRateLimiter(self.rate, DatabaseSlots(self.database))
        if self.seats is None:
            return HttpClient(limiter=limiter)
        return HttpClient(limiter=limiter, seat=DatabaseSeats(self.database, self.seats))


def _refcat(workspace: Workspace, name: str) -> ReferenceCatalogue:
    live = name.partition("@")[0] in {"gaia", "vizier_gaia"}
    return _opened(workspace.root, name, _SlottedClients(workspace.database) if live else None)


@lru_cache(maxsize=8)
def _opened(root: Path, name: str, http: _SlottedClients | None) -> ReferenceCatalogue:
    from virtualobserver.catalog.refcat import open_refcat

    return open_refcat(name, root, http=http)


def _solver(workspace: Workspace, name: str) -> CatalogueSolver:
    from virtualobserver.catalog.solver import CatalogueSolver

    return CatalogueSolver(_refcat(workspace, name))


def _bodies(workspace: Workspace, name: str) -> KnownBodies:
    if name == _SKYBOT:
        from virtualobserver.catalog.skybot import SkyBot

        clients = _SlottedClients(workspace.database, _BODY_RATE, _BODY_SEATS)
        return SkyBot(clients(), workspace.root / _ANSWERS / _SKYBOT)
    return _orbits(workspace.root, name)


@lru_cache(maxsize=2)
def _orbits(root: Path, name: str) -> KnownBodies:
    from virtualobserver.catalog.orbits import open_orbits

    return open_orbits(root, name)


def _numbers(workspace: Workspace, analysis: str) -> StoredNumbers:
    from virtualobserver.run.tasks.numbers import StoredNumbers

    return StoredNumbers(workspace.database, analysis)


@dataclass(frozen=True)
class Service:
    """How a service is made from the workspace and its setting.

    `otherwise` is the setting that is asked where there is none of the service's own name, and `wanted` what to set.
    """

    make: Callable[[Workspace, str], Any]
    otherwise: str = ""
    wanted: str = "a reference catalogue, e.g. gaia_dr3@2022; `vo refcat list` shows them"


KNOWN: Final[Mapping[str, Service]] = MappingProxyType(
    {
        "refcat": Service(_refcat),
        "solver": Service(_solver, otherwise="refcat"),
        "bodies": Service(
            _bodies,
            otherwise="identify",
            wanted="skybot, orbits such as mpcorb@2026-11 (`vo orbits list` shows them), or none",
        ),
        "numbers": Service(_numbers, wanted="the name of the analysis whose numbers are kept"),
    }
)
"""The services by name; each is also the name of its setting, or `Service.otherwise` is."""
