"""Surveys, analyses and ways out are found by listing a folder; only the one that is asked for is imported."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Literal, TypeAlias

from virtualobserver.errors import PluginError

__all__ = ["Kind", "class_names", "find_class", "load", "names", "settings_of"]

Kind: TypeAlias = Literal["observatories", "analyses", "exports"]

_WORK: Final[dict[Kind, str]] = {"observatories": "fetch", "analyses": "find", "exports": "write"}
_NOUN: Final[dict[Kind, str]] = {"observatories": "survey", "analyses": "analysis", "exports": "way out"}
_CLASSES: Final[tuple[Kind, ...]] = ("observatories", "analyses")  # those whose classes are public names


def names(kind: Kind) -> list[str]:
    """List the plug-ins of a kind, sorted, without importing any.

    Parameters
    ----------
    kind
        ``observatories``, ``analyses`` or ``exports``.

    Returns
    -------
    list of str
        Modules and packages of the folder, and entry points of group ``virtualobserver.<kind>``.
    """
    return sorted({*_in_folder(kind), *_outside(kind)})


def load(kind: Kind, name: str) -> type[Any]:
    """Import one plug-in.

    Parameters
    ----------
    kind
        ``observatories``, ``analyses`` or ``exports``.
    name
        One of `names`, or the path of a Python file (ending in ``.py``).

    Returns
    -------
    type
        The class in it whose attribute ``name`` is that name.

    Raises
    ------
    PluginError
        Nobody knows the name (the message gives the nearest and lists all), it cannot be imported, or it
        holds no such class.
    """
    if name.endswith(".py"):
        return _class_in(_import_file(Path(name).expanduser()), kind, None)
    if name in _in_folder(kind):
        return _class_in(_import(f"virtualobserver.{kind}.{name}", kind, name), kind, name)
    outside = _outside(kind)
    if name in outside:
        return _class_of_entry_point(outside[name], kind, name)
    known = names(kind)
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    listed = ", ".join(known) or "none"
    msg = f"there is no {_NOUN[kind]} {name!r}; {hint}known: {listed}; or give a path to a .py file"
    raise PluginError(msg)


def settings_of(kind: Kind, name: str, /) -> type[Any]:
    """Import one plug-in and return the class of its settings.

    Raises
    ------
    PluginError
        As for `load`.
    """
    found: type[Any] = load(kind, name).Settings
    return found


def class_names(kind: Kind | None = None) -> dict[str, tuple[Kind, str]]:
    """Map lower-case class names (``virtualztf``) to kind and plug-in, without importing any.

    A survey ``ztf`` is the class ``VirtualZTF``, an analysis ``moving_objects`` the class ``MovingObjects``:
    the name without underscores, in any case, with ``Virtual`` before a survey's.
    """
    found: dict[str, tuple[Kind, str]] = {}
    for each in _CLASSES if kind is None else (kind,):
        prefix = "virtual" if each == "observatories" else ""
        for name in names(each):
            found[prefix + name.replace("_", "").lower()] = (each, name)
    return found


def find_class(attribute: str) -> type[Any] | None:
    """Return the plug-in class of a public name such as ``VirtualZTF``; None if there is no such plug-in.

    Only that plug-in is imported.

    Raises
    ------
    PluginError
        It is there but cannot be imported.
    """
    if not attribute[:1].isupper():
        return None
    entry = class_names().get(attribute.lower())
    return None if entry is None else load(*entry)


def _folder(kind: Kind) -> Path:
    return Path(__file__).parent / kind


def _in_folder(kind: Kind) -> list[str]:
    found = []
    for path in _folder(kind).iterdir():
        is_module = path.suffix == ".py" or (path / "__init__.py").is_file()
        if is_module and not path.name.startswith(("_", ".")):
            found.append(path.stem)
    return sorted(found)


def _outside(kind: Kind) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=f"virtualobserver.{kind}")}


def _import(module: str, kind: Kind, name: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except (ImportError, SyntaxError) as error:
        msg = f"the {_NOUN[kind]} {name!r} ({module}) cannot be imported: {error}"
        raise PluginError(msg) from error


def _import_file(path: Path) -> ModuleType:
    """Import a file by its path; the same content is imported once, so that classes stay the same objects."""
    try:
        content = path.read_bytes()
    except OSError as error:
        msg = f"{path}: the plug-in file cannot be read: {error.strerror}"
        raise PluginError(msg) from error
    mark = hashlib.sha256(str(path.resolve()).encode() + b"\0" + content).hexdigest()[:16]
    name = f"virtualobserver_local_{mark}_{path.stem}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        msg = f"{path}: not a Python file"
        raise PluginError(msg)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (ImportError, SyntaxError) as error:
        del sys.modules[name]
        msg = f"{path}: the plug-in file cannot be imported: {error}"
        raise PluginError(msg) from error
    return module


def _class_of_entry_point(point: EntryPoint, kind: Kind, name: str) -> type[Any]:
    try:
        target = point.load()
    except (ImportError, SyntaxError, AttributeError) as error:
        msg = f"the {_NOUN[kind]} {name!r} ({point.value}) cannot be imported: {error}"
        raise PluginError(msg) from error
    if isinstance(target, ModuleType):
        return _class_in(target, kind, name)
    if isinstance(target, type) and _is_plugin(target, kind, name):
        return target
    needs = f"name = {name!r}, Settings and {_WORK[kind]}"
    msg = f"the entry point {point.value} is no {_NOUN[kind]}: it needs {needs}"
    raise PluginError(msg)


def _class_in(module: ModuleType, kind: Kind, name: str | None) -> type[Any]:
    classes = dict.fromkeys(item for item in vars(module).values() if isinstance(item, type))
    own = [each for each in classes if f"{each.__module__}.".startswith(f"{module.__name__}.")]
    found = [each for each in own if _is_plugin(each, kind, name)]
    if len(found) == 1:
        return found[0]
    wanted = f"name = {name!r}" if name else "a name"
    many = f"{len(found)} classes" if found else "no class"
    msg = (
        f"{module.__file__}: {many} with {wanted}, Settings and {_WORK[kind]}; "
        f"a {_NOUN[kind]} file defines exactly one"
    )
    raise PluginError(msg)


def _is_plugin(value: type[Any], kind: Kind, name: str | None) -> bool:
    given = getattr(value, "name", None)
    right = given == name if name is not None else isinstance(given, str) and bool(given)
    has_settings = isinstance(getattr(value, "Settings", None), type)
    return right and has_settings and callable(getattr(value, _WORK[kind], None))
