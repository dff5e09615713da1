"""YAML 1.2 in and out: small, plain files only, every key with its line and column."""

from __future__ import annotations

import difflib
import io
import re
from pathlib import Path
from typing import Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from virtualobserver.config.tree import Entry, Tree
from virtualobserver.errors import ConfigError
from virtualobserver.typing import Record, RecordDict, Value

__all__ = ["MAX_BYTES", "dump", "locate", "parse", "read", "scalar"]

MAX_BYTES: Final = 1_000_000
"""A configuration is some kB; a larger file is another one, given by mistake."""
MAX_DEPTH: Final = 50
"""The parser calls itself for each level, and no configuration has more than ten."""
MAX_REPEATS: Final = 1_000
"""How many nodes may be written by aliases alone: enough for shared sections, not for a bomb."""

_TAG: Final = "tag:yaml.org,2002:"
_PLAIN: Final = ("null", "bool", "int", "float", "str", "timestamp", "map", "seq")
_KINDS: Final = frozenset(_TAG + kind for kind in _PLAIN)
_SUFFIXES: Final = (".yaml", ".yml")
_BRACKETS: Final = re.compile(rf"(?:[\[{{]\s*){{{MAX_DEPTH + 1}}}")
_NAMES: Final = frozenset({"name", "alias"})
"""Keys of a row of targets whose values are text, however they look."""
_INTEGER: Final = re.compile(r"([-+]?)(0o[0-7]+|0x[0-9a-fA-F]+|[0-9]+)")


def locate(name: str | Path, *, folder: Path | None = None) -> Path:
    """Find a configuration file by path, or by name here and under ``configs/``.

    Parameters
    ----------
    name
        ``configs/x.yaml``, or only ``x``.
    folder
        Where relative names start; the working folder if not given.

    Raises
    ------
    ConfigError
        There is no such file; the message names the nearest one.
    """
    base = folder or Path.cwd()
    given = Path(name).expanduser()
    places = [base / given] if given.is_absolute() else [base / given, base / "configs" / given]
    for place in places:
        for candidate in (place, *(place.with_name(place.name + suffix) for suffix in _SUFFIXES)):
            if candidate.is_file():
                return candidate
    there = sorted(
        path.name
        for parent in dict.fromkeys(place.parent for place in places)
        if parent.is_dir()
        for path in parent.iterdir()
        if path.suffix in _SUFFIXES
    )
    near = difflib.get_close_matches(given.name, there, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]}?" if near else ""
    looked = ", ".join(str(place.parent) for place in places)
    msg = f"{name}: there is no such configuration file (looked in {looked}){hint}"
    raise ConfigError(msg)


def read(path: Path) -> Tree:
    """Read a configuration file.

    Raises
    ------
    ConfigError
        The file is missing, larger than `MAX_BYTES`, not UTF-8, not YAML, or holds duplicate keys, tags,
        tabs in the indentation, NaN or runaway aliases; the message is ``file:line:column: reason``.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            msg = f"{path}: larger than {MAX_BYTES} bytes; a long target list belongs into a catalogue file"
            raise ConfigError(msg)
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        msg = f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8"
        raise ConfigError(msg) from error
    except OSError as error:
        msg = f"{path}: cannot be read: {error.strerror}"
        raise ConfigError(msg) from error
    return parse(text, label=str(path), short=path.name, folder=path.absolute().parent)


def parse(text: str, *, label: str, short: str | None = None, folder: Path | None = None) -> Tree:
    """Parse the text of a configuration into a tree.

    Parameters
    ----------
    text
        YAML 1.2.
    label, short
        What messages and origins call the text.
    folder
        Where relative paths in it start; the working folder if not given.

    Raises
    ------
    ConfigError
        As for `read`.
    """
    reader = _Reader(label, short or label, folder)
    node = reader.compose(text)
    if node is None:
        return {}
    if not isinstance(node, MappingNode):
        raise reader.error(node, "a configuration is a list of `key: value` lines")
    section: Tree = reader.section(node, ())
    return section


def scalar(text: str, *, label: str) -> Value:
    """Parse the right side of an override: a YAML 1.2 scalar, or a list or mapping in one line.

    Raises
    ------
    ConfigError
        The text is not YAML.
    """
    reader = _Reader(label, label)
    node = reader.compose(text)
    if node is None:
        return None
    return reader.plain(node, ())


def dump(data: Record) -> str:
    """Write plain data as YAML that `parse` reads back equal."""
    writer = YAML(typ="safe", pure=True)
    writer.version = "1.2"
    writer.default_flow_style = False
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    writer.allow_unicode = True
    stream = io.StringIO()
    writer.dump(dict(data), stream)
    return stream.getvalue().removeprefix("%YAML 1.2\n---\n")


def _reason(error: MarkedYAMLError) -> str:
    """Return what the parser says, and in which line begins what it could not end."""
    context, problem = (" ".join(str(text or "").split()) for text in (error.context, error.problem))
    start, end = error.context_mark, error.problem_mark
    if context and start is not None and end is not None and start.line != end.line:
        context += f" that begins in line {start.line + 1}"
    return ", ".join(part for part in (context, problem) if part)


class _Reader:
    """Turns the nodes of one text into values."""

    def __init__(self, label: str, short: str, folder: Path | None = None) -> None:
        self.label = label
        self.short = short
        self.folder = folder
        self.seen: set[int] = set()
        self.repeats = 0

    def error(self, node: Node, reason: str) -> ConfigError:
        mark = node.start_mark
        return ConfigError(f"{self.label}:{mark.line + 1}:{mark.column + 1}: {reason}")

    def compose(self, text: str) -> Node | None:
        for number, line in enumerate(text.splitlines(), 1):
            indent = line[: len(line) - len(line.lstrip())]
            if "\t" in indent:
                column = indent.index("\t") + 1
                msg = f"{self.label}:{number}:{column}: a tab in the indentation; use blanks"
                raise ConfigError(msg)
        if _BRACKETS.search(text):  # the parser would take its time to find out
            msg = f"{self.label}: nested more than {MAX_DEPTH} levels deep"
            raise ConfigError(msg)
        try:
            node: Node | None = YAML(typ="rt", pure=True).compose(io.StringIO(text))
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
            msg = f"{self.label}{where}: not valid YAML: {_reason(error)}"
            raise ConfigError(msg) from error
        except (YAMLError, ValueError) as error:
            msg = f"{self.label}: not valid YAML: {' '.join(str(error).split())}"
            raise ConfigError(msg) from error
        except RecursionError as error:
            msg = f"{self.label}: nested more than {MAX_DEPTH} levels deep"
            raise ConfigError(msg) from error
        return node

    def check(self, node: Node, above: tuple[int, ...]) -> None:
        if node.tag is not None and str(node.tag) not in _KINDS:
            raise self.error(node, f"the tag {node.tag} is not allowed; write plain values")
        if id(node) in above:
            raise self.error(node, "an alias that contains itself")
        if len(above) > MAX_DEPTH:
            raise self.error(node, f"nested more than {MAX_DEPTH} levels deep")
        self.repeats += id(node) in self.seen
        if self.repeats > MAX_REPEATS:
            raise self.error(node, f"aliases repeat more than {MAX_REPEATS} values; write them out")
        self.seen.add(id(node))

    def section(self, node: MappingNode, above: tuple[int, ...]) -> Tree:
        self.check(node, above)
        tree: Tree = {}
        for key_node, value_node in node.value:
            key = self.key(key_node, tree)
            mark = key_node.start_mark
            line = mark.line + 1
            inside = (*above, id(node))
            value = (
                self.section(value_node, inside)
                if isinstance(value_node, MappingNode)
                else self.plain(value_node, inside)
            )
            place = f"{self.label}:{line}:{mark.column + 1}"
            tree[key] = Entry(value, place, f"{self.short}:{line}", self.folder)
        return tree

    def key(self, node: Node, taken: Record) -> str:
        if not isinstance(node, ScalarNode) or str(node.tag) not in _KINDS:
            tag = str(node.tag)
            merge = tag == f"{_TAG}merge"
            reason = (
                "merge keys (<<) are not YAML 1.2; write their keys out"
                if merge
                else "a key has to be plain text"
            )
            raise self.error(node, reason)
        key = self.text(node)
        if not key:
            raise self.error(node, "an empty key")
        if key in taken:
            raise self.error(node, f"duplicate key {key!r}; it stands above already")
        return key

    def plain(self, node: Node, above: tuple[int, ...]) -> Value:
        self.check(node, above)
        inside = (*above, id(node))
        if isinstance(node, SequenceNode):
            return [self.plain(item, inside) for item in node.value]
        if isinstance(node, MappingNode):
            data: RecordDict = {}
            for key_node, value_node in node.value:
                key = self.key(key_node, data)
                # in a list of targets, 00123 and 1e5 are names and no numbers
                is_name = key in _NAMES and _is_number(value_node)
                data[key] = self.text(value_node) if is_name else self.plain(value_node, inside)
            return data
        return self.scalar(node)

    def text(self, node: Node) -> str:
        """Return the text of a scalar, in which JSON's pairs of escapes are one character each.

        Raises
        ------
        ConfigError
            Half of such a pair is left: no character, which no file and no database can hold.
        """
        text = str(node.value)
        try:
            return text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            reason = "half of a pair of escapes (\\ud800 to \\udfff), which is no character"
            raise self.error(node, reason) from None

    def scalar(self, node: Node) -> Value:
        text, kind = self.text(node), str(node.tag).removeprefix(_TAG)
        if kind == "null":
            return None
        if kind == "bool" and text.lower() in {"true", "false"}:
            return text.lower() == "true"
        if kind == "int" and (match := _INTEGER.fullmatch(text)):
            sign, digits = match.groups()
            number = int(digits, {"0o": 8, "0x": 16}.get(digits[:2], 10))
            return -number if sign == "-" else number
        if kind == "float":
            if text.lower().lstrip("+-") in {".nan", ".inf"}:
                raise self.error(node, f"{text} is not a setting; leave the key out for no limit")
            try:
                return float(text)
            except ValueError:
                return text
        return text


def _is_number(node: Node) -> bool:
    return isinstance(node, ScalarNode) and str(node.tag).removeprefix(_TAG) in {"int", "float", "bool"}
