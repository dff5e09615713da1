"""From settings to steps: what is done in which order, under which digest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from virtualobserver import plugins
from virtualobserver.config.digest import digest
from virtualobserver.errors import ConfigError

__all__ = ["Step", "build_steps"]

Kind = Literal["fetch", "calibrate", "reduce", "analyse", "simulate"]
_FOLDER = {"fetch": "observatories", "calibrate": "observatories", "reduce": "observatories"}


@dataclass(frozen=True)
class Step:
    """One step of a project, able to travel to a worker.

    ``upstream`` are the (step, digest) pairs whose products (or raw data) it works on.
    """

    kind: Kind
    plugin: str
    digest: str
    settings: Mapping[str, Any]
    origin: str = "live"
    upstream: tuple[tuple[str, str], ...] = ()
    wanted: tuple[tuple[str, str], ...] = ()
    batch: int = 200
    seed: int = 0
    folders: tuple[str, ...] = ()
    analysis_digest: str = ""

    @property
    def name(self) -> str:
        """Name as it stands in the database, e.g. ``reduce:ztf``."""
        return f"{self.kind}:{self.plugin}"

    @cached_property
    def instance(self) -> Any:
        """The survey or analysis with these settings."""
        plugin = plugins.load(_FOLDER.get(self.kind, "analyses"), self.plugin)  # type: ignore[arg-type]
        return plugin(plugin.Settings(**dict(self.settings)))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "instance"}


def _origin(plugin: Any, archive: Any) -> str:
    if plugin.simulated or archive == "simulated":
        return "simulated"
    return "folder" if archive else "live"


def _folders(archive: Any) -> tuple[str, ...]:
    if archive in {None, "simulated"}:
        return ()
    return (archive,) if isinstance(archive, str) else tuple(archive)


def _survey_steps(name: str, settings: Any) -> list[Step]:
    plugin = plugins.load("observatories", name)
    origin = _origin(plugin, settings.archive)
    raw = settings.model_dump(mode="json")
    common: dict[str, Any] = {
        "plugin": name,
        "settings": raw,
        "origin": origin,
        "seed": settings.seed,
        "folders": _folders(settings.archive),
    }
    fetch = Step(
        "fetch",
        digest=digest("fetch", name, plugin.version, settings, [f"origin:{origin}"]),
        batch=plugin.fetch_batch,
        **common,
    )
    key = digest("reduce", name, plugin.version, settings, [fetch.digest])
    reduce = Step("reduce", digest=key, upstream=((fetch.name, fetch.digest),), batch=plugin.batch, **common)
    return [fetch, reduce]


def build_steps(settings: Any) -> list[Step]:
    """Return the steps of a project in an order in which each finds its inputs made.

    Raises
    ------
    ConfigError
        If an analysis needs products that nothing in the project makes, or analyses wait for each other.
    """
    steps: list[Step] = []
    makers: list[tuple[Step, tuple[tuple[str, str], ...]]] = []
    for name, survey in settings.observatories.items():
        pair = _survey_steps(name, survey)
        steps += pair
        makers.append((pair[1], plugins.load("observatories", name).produces))
    waiting = dict(settings.analyses)
    while waiting:
        ready = [name for name in waiting if _ready(name, makers, waiting)]
        if not ready:
            raise ConfigError(_stuck(waiting, makers))
        for name in ready:
            steps += _analysis_steps(name, waiting.pop(name), makers)
            makers.append((steps[-2], plugins.load("analyses", name).produces))
    return steps


def _ready(name: str, makers: Sequence[tuple[Step, Any]], waiting: Mapping[str, Any]) -> bool:
    needs = {(need.kind, need.role) for need in plugins.load("analyses", name).requires}
    made = {product for _, products in makers for product in products}
    later = {
        product for other in waiting if other != name for product in plugins.load("analyses", other).produces
    }
    return needs <= made and not needs & later - made


def _stuck(waiting: Mapping[str, Any], makers: Sequence[tuple[Step, Any]]) -> str:
    made = sorted({f"{kind}/{role}" for _, products in makers for kind, role in products})
    needs = {
        name: sorted(f"{n.kind}/{n.role}" for n in plugins.load("analyses", name).requires)
        for name in waiting
    }
    wants = "; ".join(f"{name} needs {', '.join(kinds)}" for name, kinds in needs.items())
    return f"analyses cannot be put in an order: {wants}; the project makes {', '.join(made) or 'nothing'}"


def _analysis_steps(name: str, settings: Any, makers: Sequence[tuple[Step, Any]]) -> list[Step]:
    plugin = plugins.load("analyses", name)
    wanted = tuple((need.kind, need.role) for need in plugin.requires)
    upstream = tuple((step.name, step.digest) for step, products in makers if set(wanted) & set(products))
    raw = settings.model_dump(mode="json")
    common: dict[str, Any] = {
        "plugin": name,
        "settings": raw,
        "wanted": wanted,
        "upstream": upstream,
        "batch": plugin.batch,
        "seed": settings.simulate.seed,
    }
    above = sorted(key for _, key in upstream)
    analyse = Step("analyse", digest=digest("analyse", name, plugin.version, settings, above), **common)
    key = digest("simulate", name, plugin.version, settings, [analyse.digest])
    return [analyse, Step("simulate", digest=key, analysis_digest=analyse.digest, **common)]
