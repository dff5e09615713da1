"""From settings to steps: what is done in which order, under which digest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from virtualobserver import plugins
from virtualobserver.config.digest import digest
from virtualobserver.errors import ConfigError
from virtualobserver.typing import Record, RecordDict

if TYPE_CHECKING:
    from virtualobserver.analysis import AnalysisSettings
    from virtualobserver.config.project import ProjectSettings
    from virtualobserver.observatory import ObservatorySettings, VirtualObservatory

__all__ = ["GROUP", "IN_ORDER", "UPSTREAM", "WANTED", "Step", "build_steps"]

# How queries select what a step works on: its upstreams, their products, their order, and the group a unit falls into.
UPSTREAM = (
    "unnest(CAST(:steps AS text[]), CAST(:digests AS text[]), CAST(:depths AS int[])) up(step, digest, depth)"
)
WANTED = "(p.kind, p.role) IN (SELECT * FROM unnest(CAST(:kinds AS text[]), CAST(:roles AS text[])))"
IN_ORDER = 'p.t_min, u.unit COLLATE "C", p.band COLLATE "C", p.series COLLATE "C", p.id'
GROUP = "array_to_string((string_to_array(u.unit, '/'))[1:up.depth], '/')"

Kind = Literal["fetch", "calibrate", "reduce", "refine", "analyse", "simulate"]
_FOLDER = dict.fromkeys(("fetch", "calibrate", "reduce", "refine"), "observatories")


@dataclass(frozen=True)
class Step:
    """One step of a project, able to travel to a worker.

    ``plugin`` is the plug-in's own name, ``entry`` what the configuration calls it: that name or its file.
    ``archive`` says which archive the raw data come from: its folders or addresses, one a
    line. ``upstream`` are the (step, digest) pairs whose products (or raw data) it works on. ``levels`` name the
    parts of its units, e.g. ``("night", "frame")``; ``depths`` say how many of the parts of each upstream's
    units an analysis groups by. ``gates`` are the upstreams that have to have succeeded: where one failed nothing is
    planned that works on its products. ``masters`` is the step that makes the survey's masters. ``part`` is the name
    of a named part of the reduction.
    """

    kind: Kind
    plugin: str
    entry: str
    digest: str
    settings: Record
    origin: str = "live"
    archive: str = ""
    upstream: tuple[tuple[str, str], ...] = ()
    wanted: tuple[tuple[str, str], ...] = ()
    batch: int = 200
    seed: int = 0
    folders: tuple[str, ...] = ()
    analysis_digest: str = ""
    levels: tuple[str, ...] = ()
    depths: tuple[int, ...] = ()
    gates: tuple[str, ...] = ()
    masters: tuple[str, str] | None = None
    part: str = ""

    @property
    def name(self) -> str:
        """Name as it stands in the database, e.g. ``reduce:ztf`` or ``reduce.solve:astep``."""
        return f"reduce.{self.part}:{self.plugin}" if self.part else f"{self.kind}:{self.plugin}"

    @cached_property
    def instance(self) -> Any:
        """The survey or analysis with these settings."""
        plugin = plugins.load(_FOLDER.get(self.kind, "analyses"), self.entry)  # type: ignore[arg-type]
        return plugin(plugin.Settings(**dict(self.settings)))

    def forgetful(self) -> Step:
        """Return the same step with a plug-in of its own, which remembers no folder it has looked into."""
        return replace(self)

    def __getstate__(self) -> RecordDict:
        return {name: value for name, value in self.__dict__.items() if name != "instance"}


Made = tuple[Step, tuple[tuple[str, str], ...]]  # a step, and the kinds and roles of what it makes


def _origin(plugin: type[VirtualObservatory], archive: object) -> str:
    if plugin.simulated or archive == "simulated":
        return "simulated"
    return "folder" if archive else "live"


def _archive(plugin: type[VirtualObservatory], settings: ObservatorySettings, origin: str) -> str:
    """Return what tells an archive from others of its kind."""
    if origin == "folder":
        places = [str(Path(folder).expanduser().resolve()) for folder in _folders(settings.archive)]
    else:
        places = list(plugin(settings).addresses()) if origin == "live" else []
    return "\n".join(places)


def _folders(archive: str | list[str] | None) -> tuple[str, ...]:
    if archive is None or isinstance(archive, str):
        return () if archive in {None, "simulated"} else (str(archive),)
    return tuple(archive)


def _survey_steps(entry: str, settings: ObservatorySettings) -> list[Step]:
    plugin = plugins.load("observatories", entry)
    name = plugin.name
    origin = _origin(plugin, settings.archive)
    archive = _archive(plugin, settings, origin)
    raw = settings.model_dump(mode="json")
    common: RecordDict = {
        "plugin": name,
        "entry": entry,
        "settings": raw,
        "origin": origin,
        "archive": archive,
        "seed": settings.seed,
        "folders": _folders(settings.archive),
        "levels": plugin.levels,
    }
    fetch = Step(
        "fetch",
        digest=digest("fetch", name, plugin.version, settings, [f"origin:{origin}", f"archive:{archive}"]),
        batch=plugin.fetch_batch,
        **common,
    )
    steps = [fetch]
    common |= {"upstream": ((fetch.name, fetch.digest),)}
    if plugin.master_kinds:
        key = digest("calibrate", name, plugin.version, settings, [fetch.digest])
        common["masters"] = (f"calibrate:{name}", key)
        steps.append(Step("calibrate", digest=key, batch=1, **common))
    # With parts of its own, the reduction as such does not depend on what is set for them.
    family = "reduce.frames" if plugin.parts else "reduce"
    key = digest(family, name, plugin.version, settings, [step.digest for step in steps])
    steps.append(Step("reduce", digest=key, batch=plugin.batch, **common))
    return steps + _parts(plugin, settings, steps[-1], common)


def _parts(
    plugin: type[VirtualObservatory], settings: ObservatorySettings, reduce: Step, common: Record
) -> list[Step]:
    """Return the steps of the named parts of a reduction: each works on what those before it made."""
    steps = [reduce]
    wanted = list(plugin.produces)
    for part, products in plugin.parts.items():
        key = digest(f"reduce.{part}", plugin.name, plugin.version, settings, [steps[-1].digest])
        shape = {
            "upstream": tuple((step.name, step.digest) for step in steps),
            "depths": (len(plugin.levels),) * len(steps),
            "wanted": tuple(wanted),
        }
        steps.append(Step("refine", digest=key, part=part, batch=plugin.batch, **{**common, **shape}))
        wanted += products
    return steps[1:]


def build_steps(settings: ProjectSettings) -> list[Step]:
    """Return the steps of a project in an order in which each finds its inputs made.

    Raises
    ------
    ConfigError
        If an analysis needs products that nothing in the project makes, or analyses wait for each other.
    """
    steps: list[Step] = []
    makers: list[Made] = []
    for name, survey in settings.observatories.items():
        plugin = plugins.load("observatories", name)
        made = _survey_steps(name, cast("ObservatorySettings", survey))
        makers += [(step, plugin.produces) for step in made if step.kind == "reduce"]
        makers += [(step, plugin.parts[step.part]) for step in made if step.part]
        steps += made
    waiting = dict(settings.analyses)
    while waiting:
        ready = [name for name in waiting if _ready(name, makers, waiting)]
        if not ready:
            raise ConfigError(_stuck(waiting, makers))
        for name in ready:
            steps += _analysis_steps(name, cast("AnalysisSettings", waiting.pop(name)), makers)
            makers.append((steps[-2], plugins.load("analyses", name).produces))
    if twice := [name for name, count in Counter(step.name for step in steps).items() if count > 1]:
        msg = f"two plug-ins of one project share a name ({', '.join(twice)}); rename the one in the file of your own"
        raise ConfigError(msg)
    return steps


def _ready(name: str, makers: Sequence[Made], waiting: Record) -> bool:
    analysis = plugins.load("analyses", name)(waiting[name])
    needs = {(need.kind, need.role) for need in analysis.requires}
    made = {product for _, products in makers for product in products}
    later = {
        product for other in waiting if other != name for product in plugins.load("analyses", other).produces
    }
    enough = bool(needs & made) if analysis.requires_any else needs <= made
    return enough and not needs & later - made


def _stuck(waiting: Record, makers: Sequence[Made]) -> str:
    made = sorted({f"{kind}/{role}" for _, products in makers for kind, role in products})
    needs = {
        name: sorted(f"{n.kind}/{n.role}" for n in plugins.load("analyses", name)(settings).requires)
        for name, settings in waiting.items()
    }
    wants = "; ".join(f"{name} needs {', '.join(kinds)}" for name, kinds in needs.items())
    return f"analyses cannot be put in an order: {wants}; the project makes {', '.join(made) or 'nothing'}"


def _depth(analysis: str, per: str, upstream: Step) -> int:
    """Return how many parts of the units of `upstream` an analysis groups by."""
    if per == "source":
        return 0
    if per in upstream.levels:
        return upstream.levels.index(per) + 1
    levels = ", ".join(("source", *upstream.levels))
    msg = f"analysis {analysis} works per {per}, but {upstream.name} makes products per {levels}"
    raise ConfigError(msg)


def _analysis_steps(entry: str, settings: AnalysisSettings, makers: Sequence[Made]) -> list[Step]:
    # which products it wants, and by which part of a unit, may depend on its settings
    plugin = plugins.load("analyses", entry)(settings)
    name = plugin.name
    wanted = tuple((need.kind, need.role) for need in plugin.requires)
    above = [step for step, products in makers if set(wanted) & set(products)]
    upstream = tuple((step.name, step.digest) for step in above)
    depths = tuple(_depth(name, plugin.per, step) for step in above)
    raw = settings.model_dump(mode="json")
    common: RecordDict = {
        "plugin": name,
        "entry": entry,
        "settings": raw,
        "wanted": wanted,
        "upstream": upstream,
        "depths": depths,
        "gates": tuple(step.name for step in above if step.kind == "analyse" and step.instance.holds),
        "levels": max((step.levels[:depth] for step, depth in zip(above, depths, strict=True)), key=len),
        "batch": plugin.batch,
        "seed": settings.simulate.seed,
    }
    digests = sorted(step.digest for step in above)
    analyse = Step("analyse", digest=digest("analyse", name, plugin.version, settings, digests), **common)
    key = digest("simulate", name, plugin.version, settings, [analyse.digest])
    return [analyse, Step("simulate", digest=key, analysis_digest=analyse.digest, **common)]
