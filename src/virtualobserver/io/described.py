"""What a table says about its columns and itself, as each format holds it: VOTable, VOParquet, FITS, ECSV.

All of it is made from a schema (names and types) and never from the rows, so that rows can follow as a stream.

Sources: IVOA VOTable 1.4; IVOA Note VOParquet 1.0 (metadata of Parquet files as a VOTable without rows); TUCDn and
TCOMMn are the cards that TOPCAT and STILTS read and write.
"""

from __future__ import annotations

import io
import json
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import BinaryIO, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from astropy.io.votable import parse
from astropy.io.votable.tree import CooSys, Field, Info, Resource, TableElement, TimeSys, VOTableFile
from astropy.units import Unit as AstropyUnit
from astropy.units import UnitBase, UnrecognizedUnit

from virtualobserver.columns import Column
from virtualobserver.conventions import MJD_ZERO_JD
from virtualobserver.errors import DataError, InvalidFile, LostFact
from virtualobserver.io.fits import keywords
from virtualobserver.typing import Record, RecordDict, Value

__all__ = [
    "arrow_kinds",
    "ascii_text",
    "attrs_of",
    "card_facts",
    "card_times",
    "check_xml",
    "fits_cards",
    "parquet_facts",
    "parquet_metadata",
    "plain",
    "systems_of",
    "text_lengths",
    "times_of",
    "unit_of",
    "votable_facts",
    "votable_of",
    "write_document",
    "yaml_facts",
]

_ORIGINS: Final = {"JD-origin": 0.0, "MJD-origin": MJD_ZERO_JD}
"""Words of VOTable for zeros of time, JD."""
_REFERENCES: Final = {"MJDREF": MJD_ZERO_JD, "JDREF": 0.0, "BJDREF": 0.0}
"""Keywords of zeros of time, whole or as parts I and F, and what makes them JD; BJDREF is that of Kepler and TESS."""
_POSITIONS: Final = {
    "TOPOCENT": "TOPOCENTER", "BARYCENT": "BARYCENTER", "HELIOCEN": "HELIOCENTER", "SOLARSYS": "BARYCENTER",
}  # fmt: skip
"""First eight letters of TREFPOS and of the older TIMEREF, in the words of VOTable."""
_VOPARQUET: Final = b"IVOA.VOTable-Parquet."
_DATATYPES: Final = {
    "f4": "float", "f8": "double", "u1": "unsignedByte", "i1": "short", "i2": "short", "u2": "int", "i4": "int",
    "u4": "long", "i8": "long", "b1": "boolean",
}  # fmt: skip
# VOTable's units are VOUnits since 1.4; without this astropy writes those of CDS.
_CONFIG: Final = {f"version_1_{minor}_or_later": True for minor in range(1, 5)}
_TEXT_LENGTH: Final = 64  # of text in a stream, whose longest is not known yet
_XML_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_META_CARD: Final = "VOMETA"
# Cards that say how a table is built; a fact of that name stands in VOMETA only.
_RESERVED: Final = re.compile(
    r"(SIMPLE|XTENSION|BITPIX|NAXIS|PCOUNT|GCOUNT|TFIELDS|EXT|END|T[A-Z]+\d+|THEAP|CHECKSUM|DATASUM|VOMETA|COMMENT"
    r"|HISTORY|CONTINUE|HIERARCH|RADESYS|BLANK|BSCALE|BZERO|TIMESYS|MJDREF|JDREF|INHERIT|LONGSTRN)"
)
_CARD_NAME: Final = re.compile(r"[A-Z][A-Z0-9_-]{0,7}")


def plain(meta: Record) -> RecordDict:
    """Return facts as JSON has them: what no format can hold otherwise (dates, paths) is text."""
    facts: RecordDict = json.loads(json.dumps({str(k): v for k, v in meta.items()}, default=_plain_value))
    return facts


def _plain_value(value: object) -> Value:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)


def unit_of(text: str) -> UnitBase | None:
    """Return the unit that a text means, as it stands where astropy does not know it; None for none."""
    if not text:
        return None
    unit: UnitBase = AstropyUnit(text, parse_strict="silent")
    return unit


def attrs_of(columns: Mapping[str, Column], meta: Record) -> RecordDict:
    """Return facts as they stand in the ``attrs`` of a data frame: ``units, ucds, descriptions, meta``."""
    attrs: RecordDict = {"units": {name: c.unit for name, c in columns.items() if c.unit}}
    attrs["ucds"] = {name: c.ucd for name, c in columns.items() if c.ucd}
    attrs["descriptions"] = {name: c.description for name, c in columns.items() if c.description}
    attrs["meta"] = dict(meta)
    return {key: value for key, value in attrs.items() if value or key == "units"}


# --- VOTable ----------------------------------------------------------------------------------------------


def votable_of(kinds: Mapping[str, str], columns: Mapping[str, Column], meta: Record) -> VOTableFile:
    """Return a VOTable with one table without rows.

    Parameters
    ----------
    kinds
        Name to type of each column, in order: NumPy's code (``f8``, ``i4``, ``b1``), ``char`` for ASCII text,
        ``unicodeChar`` for other text, ``U12`` for text of up to 12 letters.
    columns
        What is known of them.
    meta
        Facts about the whole table: one INFO each, those that are not text as JSON.

    Raises
    ------
    DataError
        If a type or a character does not exist in VOTable.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        document = VOTableFile(version="1.4")
        resource = Resource(type="results")
        document.resources.append(resource)
        name = check_xml(str(meta.get("table") or "rows"))
        # names of columns are the ids that programs see, so other ids begin with what no column begins with
        table = TableElement(document, ID="_table", name=name)
        resource.tables.append(table)
        systems: dict[tuple[str, str], str] = {}
        for number, (name, kind) in enumerate(kinds.items()):
            column = columns.get(name) or Column(name)
            table.fields.append(_field(document, resource, column, name, kind, f"_col{number}", systems))
        for number, (name, value) in enumerate(plain(meta).items()):
            table.infos.append(Info(ID=f"_info{number}", name=check_xml(name), value=check_xml(_info(value))))
    return document


def _field(  # noqa: PLR0917
    document: VOTableFile,
    resource: Resource,
    column: Column,
    name: str,
    kind: str,
    number: str,
    systems: dict[tuple[str, str], str],
) -> Field:
    text, size = kind in {"char", "unicodeChar"}, "*"
    if kind[0] == "U":  # one letter would be arraysize="1", which is deprecated
        text, kind, size = True, "unicodeChar", str(max(2, int(kind[1:])))
    if not text and kind not in _DATATYPES:
        msg = f"column {name!r} has a type that VOTable does not know ({kind}); write Parquet, or convert it"
        raise DataError(msg)
    field = Field(
        document, config=_CONFIG, name=check_xml(name), ID=name if _XML_NAME.fullmatch(name) else number,
        datatype=kind if text else _DATATYPES[kind], arraysize=size if text else None,
        ucd=column.ucd or None, utype=column.utype or None, ref=_system(resource, column, systems),
    )  # fmt: skip
    field.unit = _vounit(column.unit)
    field.description = check_xml(column.description) or None
    return field


def _vounit(text: str) -> str | None:
    unit = unit_of(text)
    if unit is None:
        return None
    try:
        # what VOUnits do not know (electron) stands in quotes
        return unit.to_string("vounit") if not isinstance(unit, UnrecognizedUnit) else f"'{text}'"
    except ValueError:
        return text


def _system(resource: Resource, column: Column, systems: dict[tuple[str, str], str]) -> str | None:
    """Return the reference of a column to its frame or time scale, which is added if it is new."""
    if column.ucd.startswith(("pos.eq.", "pos.pm;pos.eq.")):
        key = ("ICRS", "")
        if key not in systems:
            systems[key] = "_icrs"
            resource.coordinate_systems.append(CooSys(ID="_icrs", system="ICRS"))
        return systems[key]
    if not column.scale:
        return None
    key = (column.scale, column.place + ("" if column.low < 1e6 else " JD"))
    if key not in systems:
        origin = "JD-origin" if key[1].endswith("JD") else "MJD-origin"
        systems[key] = "_" + "_".join((key[0], key[1].replace(" ", "_"))).lower()
        scale = TimeSys(ID=systems[key], timeorigin=origin, timescale=key[0], refposition=column.place)
        resource.time_systems.append(scale)
    return systems[key]


def check_xml(text: str) -> str:
    """Return the text, or raise `DataError` if a character of it cannot stand in XML."""
    if found := _NOT_XML.search(text):
        msg = f"the character {found.group()!r} cannot stand in XML; write Parquet or HDF5, or leave it out"
        raise DataError(msg)
    return text


def _info(value: object) -> str:
    """Return a fact as text that gives the same fact when read."""
    return value if isinstance(value, str) and _fact(value) == value else json.dumps(value)


def _fact(text: str) -> Value:
    try:
        return json.loads(text)
    except ValueError:
        return text


def write_document(document: VOTableFile, target: str | BinaryIO) -> None:
    """Write a VOTable, its rows as TABLEDATA.

    By astropy's writer in Python: the compiled one (astropy 8.0 and before) writes the end of a row of 256, 512, 1024
    ... characters one byte behind its memory, of which the process dies later, anywhere. They take about as long.
    """
    document.to_xml(target, _debug_python_based_parser=True)


def votable_facts(table: TableElement) -> tuple[dict[str, Column], RecordDict]:
    """Return what a table of a parsed VOTable says about its columns and itself."""
    columns = {
        field.name: Column(
            field.name,
            "" if field.unit is None else _unit_text(field.unit),
            field.ucd or "",
            " ".join((field.description or "").split()),
        )
        for field in table.fields
    }
    return columns, {info.name: _fact(info.value) for info in table.infos}


def systems_of(document: VOTableFile, table: TableElement) -> dict[str, tuple[str, str]]:
    """Return in which system (``eq_FK5 J2000``) and of which epoch (``J1991.25``) the columns are that say so."""
    parts = [document, *document.resources, *(part for one in document.resources for part in one.resources)]
    known = {one.ID: one for part in parts for one in part.coordinate_systems if one.ID}
    said = {field.name: known[field.ref] for field in table.fields if field.ref in known}
    return {
        name: (f"{one.system or ''} {one.equinox or ''}".strip(), str(one.epoch or ""))
        for name, one in said.items()
    }


def times_of(document: VOTableFile, table: TableElement) -> dict[str, RecordDict]:
    """Return what `TIMESYS` says of columns: ``scale`` (utc, tdb ...), ``place`` (TOPOCENTER ...), ``zero`` (JD)."""
    parts = [document, *document.resources, *(part for one in document.resources for part in one.resources)]
    known = {one.ID: one for part in parts for one in part.time_systems if one.ID}
    said = {field.name: known[field.ref] for field in table.fields if field.ref in known}
    return {
        name: {
            "scale": str(one.timescale or "").lower(),
            "place": str(one.refposition or "").upper(),
            "zero": _ORIGINS.get(str(one.timeorigin), one.timeorigin),
        }
        for name, one in said.items()
    }


def card_times(header: Record, names: Sequence[str]) -> dict[str, RecordDict]:
    """Return what the cards of a FITS table say of its times (FITS standard 4.0, section 9), by column.

    They hold for columns without a ``TCTYPn`` of their own: ``scale`` as in `times_of`, and, but for columns that are
    called a Julian date and thus bring their own zero, ``place``, ``zero`` and ``unit``.
    """
    said: RecordDict = {}
    if scale := str(header.get("TIMESYS") or "").partition("(")[0].strip().lower():
        said["scale"] = scale
    more: RecordDict = {}
    place = str(header.get("TREFPOS") or header.get("TIMEREF") or "").strip().upper()
    if place[:8] in _POSITIONS:
        more["place"] = _POSITIONS[place[:8]]
    if unit := str(header.get("TIMEUNIT") or "").strip():
        more["unit"] = unit
    for word, zero in _REFERENCES.items():
        parts = [keywords.number(header.get(word + part)) for part in ("I", "F", "")]
        if parts[0] is not None or parts[2] is not None:
            whole = parts[2] if parts[0] is None else parts[0] + (parts[1] or 0.0)
            more["zero"] = zero + (whole or 0.0)
            break
    columns = [name for axis, name in enumerate(names, 1) if f"TCTYP{axis}" not in header]
    found = {name: said if "JD" in name.upper() else {**said, **more} for name in columns}
    return {name: one for name, one in found.items() if one}


def _unit_text(unit: object) -> str:
    return str(unit).strip("'") if isinstance(unit, UnrecognizedUnit) else str(unit)


# --- Parquet ----------------------------------------------------------------------------------------------


def arrow_kinds(schema: pa.Schema, lengths: Mapping[str, int] | None = None) -> dict[str, str]:
    """Return the columns of an Arrow schema as `votable_of` wants them, without those VOTable has no type for.

    Text is as long as `lengths` says, else `_TEXT_LENGTH`: astropy's reader of VOParquet wants a number.
    """
    kinds = {}
    for field in schema:
        if pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
            kinds[field.name] = f"U{(lengths or {}).get(field.name, _TEXT_LENGTH)}"
        elif pa.types.is_boolean(field.type):
            kinds[field.name] = "b1"
        elif pa.types.is_integer(field.type) or pa.types.is_floating(field.type):
            dtype = np.dtype(field.type.to_pandas_dtype())
            kinds[field.name] = f"{dtype.kind}{dtype.itemsize}"
    return {name: kind for name, kind in kinds.items() if kind[0] == "U" or kind in {*_DATATYPES, "u8"}}


def parquet_metadata(
    kinds: Mapping[str, str], columns: Mapping[str, Column], meta: Record
) -> dict[bytes, bytes]:
    """Return the metadata of a schema that make a Parquet file a VOParquet file; arguments as `votable_of`."""
    # the nearest type VOTable has; the numbers themselves are in Parquet's own
    document = votable_of({name: "i8" if k == "u8" else k for name, k in kinds.items()}, columns, meta)
    document.resources[0].tables[0].create_arrays(0)
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_document(document, stream)
    empty = re.compile(rb"<DATA>.*</DATA>|<DATA/>", re.DOTALL)
    content, number = empty.subn(b'<PARQUET type="Parquet-local-XML"/>', stream.getvalue())
    if not number:
        content = content.replace(b"</TABLE>", b'<PARQUET type="Parquet-local-XML"/></TABLE>')
    # astropy's own reader of Parquet asks for these
    lengths = {f"table::len::{n}".encode(): k[1:].encode() for n, k in kinds.items() if k[0] == "U"}
    return lengths | {
        _VOPARQUET + b"version": b"1.0",
        _VOPARQUET + b"type": b"Parquet-local-XML",
        _VOPARQUET + b"encoding": b"utf-8",
        _VOPARQUET + b"content": content,
    }


def text_lengths(table: pa.Table) -> dict[str, int]:
    """Return the longest text of each column of text of an Arrow table."""
    return {
        field.name: pc.max(pc.utf8_length(table.column(field.name))).as_py() or 1
        for field in table.schema
        if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)
    }


def parquet_facts(metadata: Mapping[bytes, bytes]) -> tuple[dict[str, Column], RecordDict]:
    """Return what the metadata of a Parquet file say about its columns and itself."""
    if (content := metadata.get(_VOPARQUET + b"content")) is None:
        return {}, {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tables = list(parse(io.BytesIO(content), verify="ignore").iter_tables())
    return votable_facts(tables[0]) if tables else ({}, {})


def yaml_facts(lines: Sequence[str]) -> tuple[dict[str, Column], RecordDict]:
    """Return what astropy says about columns and table in HDF5 and Parquet: the header of an ECSV file.

    Raises
    ------
    InvalidFile
        If it is no such header.
    """
    from astropy.table.meta import YamlParseError, get_header_from_yaml

    try:
        header = get_header_from_yaml(lines)
        said = {one["name"]: one for one in header["datatype"]}
        ucds = {name: str(one.get("meta", {}).get("ucd", "")) for name, one in said.items()}
        columns = {
            name: Column(name, str(one.get("unit", "")), ucds[name], one.get("description", ""))
            for name, one in said.items()
        }
    except (YamlParseError, KeyError, TypeError, ValueError) as error:
        msg = f"what astropy says of its columns cannot be read ({error})"
        raise InvalidFile(msg) from error
    meta = {name: value for name, value in header.get("meta", {}).items() if name != "__serialized_columns__"}
    return columns, plain(meta)


# --- FITS -------------------------------------------------------------------------------------------------


def fits_cards(columns: Mapping[str, Column], meta: Record) -> list[tuple[str, Value, str]]:
    """Return the cards of a binary table: TUCDn and TCOMMn of its columns, in order, and its facts.

    Facts are all in VOMETA, as JSON; those that are plain and have a short name stand beside it as cards.
    """
    cards: list[tuple[str, Value, str]] = []
    for number, column in enumerate(columns.values(), 1):
        unit = _fits_unit(column.unit)
        for key, value in zip(
            ("TUNIT", "TUCD", "TCOMM"), (unit, column.ucd, column.description), strict=True
        ):
            if value:
                cards.append((f"{key}{number}", _card_text(value, column.name), ""))
    if any(column.ucd.startswith("pos.eq.") for column in columns.values()):
        cards.append(("RADESYS", "ICRS", "frame of right ascension and declination"))
    facts = plain(meta)
    for name, value in facts.items():
        key, shown = name.upper()[:8], str(value)
        simple = isinstance(value, str | bool | int | float) and shown.isascii() and shown.isprintable()
        if simple and len(shown) <= 68 and _CARD_NAME.fullmatch(key) and not _RESERVED.match(key):
            cards.append((key, value, name if name.isascii() and name.isprintable() else ""))
    if facts:
        # astropy takes the rest of a value after quote and slash for a comment
        cards.append((_META_CARD, json.dumps(facts).replace("'", "\\u0027"), "all facts as JSON"))
    return cards


def _fits_unit(text: str) -> str:
    try:
        return str(unit_of(text).to_string("fits")) if text else ""  # type: ignore[union-attr]
    except ValueError:  # electron, which FITS does not know; TUNITn may hold any text
        return text


def _card_text(text: str, name: str) -> str:
    if (kept := ascii_text(text)) != text:
        msg = f"column {name!r}: FITS holds printable ASCII only; {text!r} becomes {kept!r}"
        warnings.warn(msg, LostFact, stacklevel=6)
    return kept


def ascii_text(text: str) -> str:
    """Return text as FITS can hold it: printable ASCII, the rest as escapes, no blanks at the end."""
    if text.isascii() and text.isprintable():
        return text.rstrip(" ")
    return text.encode("unicode_escape").decode().rstrip(" ")


def card_facts(header: Record) -> tuple[dict[str, Column], RecordDict]:
    """Return what the header of a FITS table says about its columns and itself."""
    columns = {}
    for number in range(1, int(header.get("TFIELDS", 0)) + 1):
        name = str(header.get(f"TTYPE{number}", f"col{number}"))
        unit, ucd, comment = (str(header.get(f"{key}{number}", "")) for key in ("TUNIT", "TUCD", "TCOMM"))
        columns[name] = Column(name, unit, ucd, comment)
    said = _fact(str(header.get(_META_CARD, "{}")))
    return columns, said if isinstance(said, dict) else {}
