"""From a file, overrides and the environment to settings that know where each value came from."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, TypeAlias, TypeVar

import pydantic

from virtualobserver.config import yamlfile
from virtualobserver.config.credentials import MASK, Credentials, refuse_secrets
from virtualobserver.config.messages import translate
from virtualobserver.config.names import legalise
from virtualobserver.config.paths import anchor
from virtualobserver.config.project import ProjectSettings
from virtualobserver.config.sections import canonical_names, resolve_sections
from virtualobserver.config.settings import Settings, field_marks, leaves
from virtualobserver.config.tree import Entry, Tree, from_mapping, lookup, merge, plain
from virtualobserver.errors import ConfigError
from virtualobserver.typing import Record, RecordDict, Value

__all__ = ["Overrides", "Resolved", "Resolver", "Row", "json_schema", "load", "settings_from"]

Kind: TypeAlias = Literal["observatories", "analyses"]
Overrides: TypeAlias = Record | Sequence[str]
_Group = TypeVar("_Group", bound=Settings)


class Resolver(Protocol):
    """Finds the settings class of a plug-in by kind and name."""

    def __call__(self, kind: Kind, name: str, /) -> type[Settings]:
        """Return the class; raise PluginError for a name nobody knows."""
        ...


@dataclass(frozen=True, slots=True)
class Row:
    """One line of ``vo config``."""

    path: str
    value: Value
    origin: str
    unit: str | None
    doc: str


@dataclass(frozen=True)
class Resolved:
    """Settings and where they came from.

    Attributes
    ----------
    settings
        The project.
    origins
        For each dotted path ``default``, ``search.yaml:12``, ``override`` or ``mapping``.
    path
        The file, if there was one.
    credentials
        What was found for each survey; shown masked, never dumped.
    """

    settings: ProjectSettings
    origins: Mapping[str, str]
    path: Path | None = None
    credentials: Mapping[str, Credentials] = field(default_factory=dict, repr=False, compare=False)

    def dump(self) -> str:
        """Return YAML text that gives an equal project when loaded; it holds no secrets."""
        return yamlfile.dump(self.settings.to_dict())

    def table(self) -> list[Row]:
        """Return all values with origin, unit and meaning; credentials only as being there."""
        rows = []
        for leaf in leaves(self.settings):
            path = ".".join(leaf.path)
            doc = leaf.field.description or ""
            rows.append(Row(path, leaf.value, self.origins[path], field_marks(leaf.field).unit, doc))
        for name, found in self.credentials.items():
            if found:
                rows.append(Row(f"credentials.{name}", MASK, found.origin, None, "What the archive asks for"))
        return rows

    def verify(self) -> None:
        """Check that the project can run; see `ProjectSettings.verify`.

        Raises
        ------
        ConfigError
            Something is missing.
        """
        try:
            self.settings.verify()
        except ConfigError as error:
            msg = f"{self.path}: {error}" if self.path else str(error)
            raise ConfigError(msg) from None


def load(
    source: str | Path | Record,
    overrides: Overrides = (),
    *,
    resolve: Resolver,
    env: Mapping[str, str] | None = None,
) -> Resolved:
    """Load the configuration of a project: defaults < file < overrides; secrets from the environment.

    Parameters
    ----------
    source
        A YAML file (or its name, see `yamlfile.locate`), or a mapping; it is copied, never changed or kept.
    overrides
        ``["observatories.ztf.radius=2"]`` with YAML 1.2 values, or a mapping with nested or dotted keys.
        Relative paths in them start at the working folder, those in a file at the folder of that file.
    resolve
        Finds the settings class of a survey or analysis.
    env
        The environment; the process's own if not given.

    Raises
    ------
    UnknownKeyError
        A key that nothing knows; the message names file, line, path and the nearest valid key.
    ConfigError
        A value of the wrong type or out of range, an unknown survey, a secret, or no valid YAML.
    """
    path, tree = _read_source(source)
    label = str(path) if path else "mapping"
    layers = []
    for layer in (tree, _override_tree(overrides)):
        refuse_secrets(layer)
        layers.append(canonical_names(layer, resolve))
    tree = merge(*layers)
    if path is not None and not tree:
        msg = f"{path}: holds no settings; `vo new project NAME` writes a file to start from"
        raise ConfigError(msg)
    if path is not None and "name" not in tree:
        tree = {"name": Entry(_name_of(path), label, "default")} | tree
    tree, sections = resolve_sections(tree, resolve, label=label)
    try:
        settings = ProjectSettings.model_validate({**plain(anchor(tree, ProjectSettings)), **sections})
    except pydantic.ValidationError as error:
        raise translate(error, tree, ProjectSettings, label=label) from None
    env = os.environ if env is None else env
    credentials = {
        Path(name).stem: Credentials.find(Path(name).stem, env=env) for name in settings.observatories
    }
    return Resolved(settings, _origins(settings, tree), path, credentials)


def settings_from(model: type[_Group], given: Overrides, *, label: str) -> _Group:
    """Make one group of settings from ``["key=value", ...]`` or a mapping, outside of a project's configuration.

    Parameters
    ----------
    model
        The class to make.
    given
        As the overrides of `load`.
    label
        What the settings are of, for messages.

    Raises
    ------
    UnknownKeyError
        A key that the class has not; the message names the nearest.
    ConfigError
        A value that is missing, of the wrong type or out of range.
    """
    tree = _override_tree(given)
    try:
        return model.model_validate(plain(tree))
    except pydantic.ValidationError as error:
        raise translate(error, tree, model, label=label) from None


def json_schema(
    resolve: Resolver, *, observatories: Sequence[str] = (), analyses: Sequence[str] = ()
) -> RecordDict:
    """Return the JSON schema of a project's file.

    Parameters
    ----------
    resolve
        Finds the settings class of a survey or analysis.
    observatories, analyses
        The plug-ins to describe in full.
    """
    named: dict[Kind, Sequence[str]] = {"observatories": observatories, "analyses": analyses}
    fields: RecordDict = {}
    for kind, names in named.items():
        classes: RecordDict = {name: (resolve(kind, name) | None, None) for name in names}
        group = pydantic.create_model(kind.capitalize(), **classes)
        fields[kind] = (group, pydantic.Field(default=None, description=_doc(kind)))
    model = pydantic.create_model("Project", __base__=ProjectSettings, **fields)
    return model.model_json_schema(by_alias=False)


def _doc(kind: Kind) -> str:
    return ProjectSettings.model_fields[kind].description or ""


def _read_source(source: str | Path | Record) -> tuple[Path | None, Tree]:
    if isinstance(source, Mapping):
        return None, from_mapping(source, origin="mapping")
    path = yamlfile.locate(source)
    return path, yamlfile.read(path)


def _name_of(path: Path) -> str:
    try:
        return legalise(path.stem, upper=False)
    except ConfigError as error:
        msg = f"{path}: a project named after its file: {error}; rename it or add a line `name: …`"
        raise ConfigError(msg) from error


def _override_tree(overrides: Overrides) -> Tree:
    if isinstance(overrides, str):
        overrides = [overrides]
    if isinstance(overrides, Mapping):
        nested = from_mapping(overrides, origin="override")
        tree: Tree = {}
        for key, entry in nested.items():
            tree = merge(tree, _at(key, entry.value, "override"))
        return tree
    tree = {}
    for text in overrides:
        key, equals, value = text.partition("=")
        place = f"override {key.strip()}"
        if not equals or not key.strip():
            msg = f"override {key.strip()!r}: write it as section.key=value"
            raise ConfigError(msg)
        parsed = yamlfile.scalar(value, label=place)
        if isinstance(parsed, dict):
            parsed = from_mapping(parsed, origin=place)
        tree = merge(tree, _at(key.strip(), parsed, place))
    return tree


def _at(dotted: str, value: object, place: str) -> Tree:
    """Make the tree that holds one value at a dotted path, in which a plug-in may be named by its file."""
    keys = dotted.split(".")
    if local := re.fullmatch(r"(observatories|analyses)\.(.*?\.py)(?:\.(.+))?", dotted):
        kind, file, rest = local.groups()
        keys = [kind, file, *(rest.split(".") if rest else [])]
    *sections, last = keys
    tree: Tree = {last: Entry(value, place, "override")}
    for name in reversed(sections):
        tree = {name: Entry(tree, place, "override")}
    return tree


def _origins(settings: ProjectSettings, tree: Tree) -> dict[str, str]:
    origins = {}
    for leaf in leaves(settings):
        entry = lookup(tree, leaf.path, exact=True)
        origins[".".join(leaf.path)] = "default" if entry is None else entry.origin
    return origins
