"""What is known of single files better than by their headers: those to ignore, to correct, or of another kind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path, PurePath
from typing import Annotated, Final

import pydantic
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from virtualobserver.config.settings import Settings, setting
from virtualobserver.typing import Record, RecordDict, Value

__all__ = ["FrameRule", "FrameRules", "corrections_of", "rules_for"]

_OLD_NAMES: Final = {"replace-keyword": "replace", "replace-keywords": "replace", "classification": "kind"}
"""Keys as the lists of Filabres have them."""


class FrameRule(Settings):
    """Files of some nights, and what is to be done with them."""

    night: str = setting("*", doc="Name of the folder, or a pattern such as 170225*")
    files: list[str] = setting(["*"], doc="Names of files, or patterns such as *_flat*.fits")
    enabled: bool = setting(True, doc="Whether the rule counts")
    replace: dict[str, bool | int | float | str] = setting(
        {}, doc="Keywords of the header, and their right values; the header has to have the keyword"
    )
    kind: str = setting("", doc="bias, dark, flat or science")

    @pydantic.model_validator(mode="before")
    @classmethod
    def _old_names(cls, given: Value) -> Value:
        if not isinstance(given, Mapping):
            return given
        found = {_OLD_NAMES.get(key, key): value for key, value in given.items()}
        if isinstance(found.get("files"), str):
            found["files"] = [found["files"]]
        if "night" in found:  # a night such as 170225 is no number
            found["night"] = str(found["night"])
        if isinstance(found.get("replace"), list):
            found["replace"] = {key: value for one in found["replace"] for key, value in one.items()}
        return found

    def names(self, name: str) -> bool:
        """Whether a file, a path below the archive, is one of the rule's."""
        path = PurePath(name)
        if not self.enabled or not any(fnmatchcase(path.name, pattern) for pattern in self.files):
            return False
        folders = path.parts[:-1]
        if self.night.isdigit():  # YAML takes the zeros off 010225
            return any(part.isdigit() and int(part) == int(self.night) for part in folders)
        return self.night == "*" or any(fnmatchcase(part, self.night) for part in folders)


def _read(given: Value) -> Value:
    """Put the rules of YAML files where their paths stand."""
    if isinstance(given, str):
        return list(_documents(Path(given)))
    if not isinstance(given, list | tuple):
        return given
    return [rule for one in given for rule in (_documents(Path(one)) if isinstance(one, str) else [one])]


def _documents(path: Path) -> Iterator[Value]:
    """Yield the rules of a file: each a document of its own, or all in one list."""
    try:
        documents = list(YAML(typ="safe", pure=True).load_all(path))
    except (OSError, YAMLError) as error:
        msg = f"{path}: not a list of files: {error}"
        raise ValueError(msg) from error
    for document in documents:
        if document is not None:
            yield from document if isinstance(document, list) else [document]


FrameRules = Annotated[list[FrameRule], pydantic.BeforeValidator(_read)]
"""Rules, or paths of YAML files with rules; what these say counts, not where they lie."""


def rules_for(rules: Iterable[FrameRule], name: str) -> list[FrameRule]:
    """Return the rules for a file, a path below the archive."""
    return [rule for rule in rules if rule.names(name)]


def corrections_of(rules: Iterable[FrameRule], name: str, header: Record) -> tuple[RecordDict, list[str]]:
    """Return the right values of the keywords of a file, and the keywords among them that its header lacks."""
    found = {key: value for rule in rules_for(rules, name) for key, value in rule.replace.items()}
    return found, [key for key in found if key not in header]
