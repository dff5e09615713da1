"""Which files of the folders are light curves, and whose."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from virtualobserver.data.product import Missing, Raw, Target
from virtualobserver.errors import ConfigError, DataError, InvalidFile
from virtualobserver.io.listing import files_below, folders_below, stamps
from virtualobserver.io.tables import format_of
from virtualobserver.maths.astrometry.positions import normal_name
from virtualobserver.observatories.folder.read import rows_of, table_at
from virtualobserver.observatories.folder.settings import NO_PRESET, PRESETS, FolderSettings
from virtualobserver.typing import RecordDict

__all__ = ["Found", "Index"]

_PARTS: Final = ("object", "band", "series")
_TICK: Final = 2_000_000_000
"""Nanoseconds: the coarsest clock of a file system in use, that of FAT."""
_SHOWN: Final = 3
"""Names of the archive that the reason of a missing star tells, so that a wrong spelling is seen."""


@dataclass(frozen=True)
class Found:
    """The light curve of a star: a file, or the rows of one."""

    path: Path
    name: str
    key: str = ""
    band: str = ""
    series: str = ""
    relative: str = ""

    def raw(self) -> Raw:
        """Describe it; it stays where it is."""
        header: RecordDict = {"band": self.band, "series": self.series}
        archive_id = f"{self.relative}#{self.key}" if self.key else self.relative
        return Raw(
            archive_id, format_of(self.path), path=self.path, in_place=True, key=self.key, header=header
        )


class Index:
    """The light curves of one or several folders, by the names of their stars.

    Raises
    ------
    InvalidFile
        If a folder is not there.
    ConfigError
        If the pattern of names cannot be one.
    """

    def __init__(self, folders: Sequence[Path], settings: FolderSettings) -> None:
        preset = PRESETS.get(settings.preset, NO_PRESET)
        self._settings = settings
        self._prefix = preset.prefix if settings.prefix is None else settings.prefix
        self._pattern = settings.files or preset.files
        matching = _compiled(self._pattern) if self._pattern else None
        self._began = time.time_ns()
        self.files: list[tuple[Path, str, dict[str, str]]] = []
        self._others: dict[str, str] = {}
        self._watched: list[Path] = []
        for folder in folders:
            if not folder.is_dir():
                msg = f"archive folder {folder} does not exist; check the setting archive"
                raise InvalidFile(msg)
            for path in files_below([folder]):
                relative = path.relative_to(folder).as_posix()
                if (parts := self._parts(relative, matching)) is not None:
                    self.files.append((path, relative, parts))
                else:
                    self._others.setdefault(normal_name(unquote(path.name.partition(".")[0])), path.name)
            self._watched += folders_below([folder])
        if self.one_table:  # what is in them says which stars there are
            self._watched += [path for path, _, _ in self.files]
        self._seen = stamps(self._watched)
        self._by_name: dict[str, list[Found]] | None = None
        self._by_normal: dict[str, list[tuple[int, Found]]] | None = None

    @property
    def is_current(self) -> bool:
        """Whether no file came or went since; folders tell that without a look at their files.

        A folder that changed just before it was listed may have changed once more within one tick of the clock of its
        file system: it is listed again.
        """
        if stamps(self._watched) != self._seen:
            return False
        changed = max((int(stamp.split(":")[1]) for stamp in self._seen.values()), default=0)
        return changed < self._began - _TICK

    @property
    def one_table(self) -> bool:
        """Whether files hold many stars, told apart by a column."""
        return self._settings.columns.object is not None

    @property
    def names(self) -> dict[str, list[Found]]:
        """Light curves by the name of their star as the archive has it."""
        if self._by_name is None:
            found: dict[str, list[Found]] = {}
            for path, relative, parts in self.files:
                for one in self._curves(path, relative, parts):
                    found.setdefault(one.name, []).append(one)
            self._by_name = found
        return self._by_name

    def of(self, target: Target) -> list[Found]:
        """Return the light curves of a target: those of its name or of one of its other names."""
        if self._by_normal is None:
            self._by_normal = {}
            for place, (name, several) in enumerate(self.names.items()):
                self._by_normal.setdefault(normal_name(name), []).extend((place, one) for one in several)
        wanted = {normal_name(name) for name in (target.name, *target.aliases)}
        found = [one for name in wanted for one in self._by_normal.get(name, ())]
        return [one for _, one in sorted(found, key=itemgetter(0))]

    def paths_of(self, target: Target) -> list[Path]:
        """Return the files that may hold a target; no table is opened."""
        return (
            [path for path, _, _ in self.files] if self.one_table else [one.path for one in self.of(target)]
        )

    def missing(self, target: Target) -> Missing:
        """Say why there is nothing for a target."""
        names = list(self.names)
        for name in (target.name, *target.aliases):
            if (other := self._others.get(normal_name(name))) is not None:
                like = f"is not like {self._pattern}" if self._pattern else "is no table that we read"
                return Missing(f"of its name there is only {other}, which {like}; see the setting files")
        if not names:
            return Missing(self.nothing)
        shown = ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
        return Missing(f"none of the {len(names)} stars of the archive folder has its name (there: {shown})")

    @property
    def nothing(self) -> str:
        """What there is not in a folder without light curves, and what there is in its place."""
        like = f"file like {self._pattern}" if self._pattern else "table that we read"
        other = min(self._others.values(), default="")
        instead = f" (there is {other})" if other else ""
        return f"the archive folder holds no {like}{instead}; see the settings archive and files"

    def _parts(self, relative: str, matching: re.Pattern[str] | None) -> dict[str, str] | None:
        name = relative.rsplit("/", 1)[-1]
        try:
            format_of(Path(name))
        except DataError:
            return None
        if matching is None:
            return {"object": unquote(re.sub(r"\.gz$", "", name, flags=re.IGNORECASE).rsplit(".", 1)[0])}
        hit = matching.fullmatch(relative if "/" in self._pattern else name)
        return None if hit is None else {part: unquote(text) for part, text in hit.groupdict().items()}

    def _curves(self, path: Path, relative: str, parts: dict[str, str]) -> Iterator[Found]:
        facts = {"band": parts.get("band", ""), "series": parts.get("series", ""), "relative": relative}
        column = self._settings.columns.object
        if column is None:
            yield Found(path, self._name(parts.get("object", "")), **facts)
            return
        for key in rows_of(table_at(path), column, str(path)):
            yield Found(path, self._name(key), key=key, **facts)

    def _name(self, name: str) -> str:
        return f"{self._prefix}{int(name)}" if self._prefix and name.isdigit() else name


def _compiled(pattern: str) -> re.Pattern[str]:
    """Return a pattern of file names as a regular expression; each part stands for some characters, none of them /."""
    text = re.escape(pattern).replace(r"\*", "[^/]*?")
    for part in _PARTS:
        text = text.replace(rf"\{{{part}\}}", f"(?P<{part}>[^/]+?)", 1)
    if r"\{" in text or (r"(?P<object>" not in text and "*" not in pattern and pattern.count("{")):
        msg = f"files: {pattern!r}: {{object}}, {{band}} and {{series}} may stand in it, each once"
        raise ConfigError(msg)
    return re.compile(text, re.IGNORECASE)
