"""Read the verdict of a Virtual Observatory service out of its XML answer.

Source: IVOA DALI 1.1, section 4.4 (``INFO name="QUERY_STATUS"``: OK, ERROR, OVERFLOW; the last one may
stand after the table).
"""

from __future__ import annotations

import re
from typing import NoReturn
from xml.parsers import expat

from virtualobserver.errors import ArchiveAnswerError, ArchiveOverflow, IncompleteDownload
from virtualobserver.secrets import scrub

__all__ = ["looks_like_xml", "votable_status"]

_WORDS = 300
"""Characters of a service's words that a message repeats."""
_KEEP_TEXT = frozenset({"INFO", "MESSAGE", "FIELD", "DESCRIPTION"})


class _EntityError(Exception):
    """A document that declares entities is not one a service sends."""


class _Reader:
    """Collects what `votable_status` needs, in one pass and constant memory."""

    def __init__(self) -> None:
        self.root = ""
        self.root_status = ""
        self.infos: list[tuple[str, str, str]] = []
        self.messages: list[str] = []
        self.tables = self.fields = self.rows = self.binary = 0
        self._info: tuple[str, str] = ("", "")
        self._text: list[str] = []
        self._inside = ""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        local = name.rpartition(":")[2].upper()
        if not self.root:
            self.root, self.root_status = local, attributes.get("status", "")
        self.tables += local == "TABLE"
        self.fields += local == "FIELD"
        self.rows += local == "TR"
        self._inside = local
        if local in _KEEP_TEXT:
            self._text = []
        if local == "INFO":
            self._info = (attributes.get("name", attributes.get("ID", "")), attributes.get("value", ""))

    def end(self, name: str) -> None:
        local = name.rpartition(":")[2].upper()
        text = " ".join("".join(self._text).split())
        if local == "INFO":
            self.infos.append((self._info[0].upper(), self._info[1].strip(), text))
        elif local == "MESSAGE":
            self.messages.append(text)
        self._inside = ""

    def text(self, data: str) -> None:
        if self._inside in ("INFO", "MESSAGE"):
            self._text.append(data)
        elif self._inside in ("STREAM", "FITS") and data.strip():
            self.binary += 1

    def refuse_entity(self, *_: object) -> NoReturn:
        raise _EntityError


def looks_like_xml(content: bytes) -> bool:
    """Tell whether a body begins like an XML document."""
    head = content[:4096].lstrip(b"\xef\xbb\xbf \t\r\n")
    return re.match(rb"<(\?xml|!--|!DOCTYPE|[A-Za-z_][\w.\-]*(:[\w.\-]+)?[\s/>])", head) is not None


def _read(content: bytes, where: str) -> _Reader:
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.EntityDeclHandler = reader.refuse_entity
    try:
        parser.Parse(content, True)
    except _EntityError:
        msg = f"{where}: the XML declares entities; refused"
        raise ArchiveAnswerError(msg) from None
    except expat.ExpatError as exc:
        msg = f"{where}: the XML is cut or broken: {exc}"
        raise IncompleteDownload(msg) from None
    return reader


def votable_status(content: bytes, *, where: str = "answer") -> bool:
    """Accept a VOTable that is whole and good.

    Parameters
    ----------
    content
        The body.
    where
        Address for the messages.

    Returns
    -------
    bool
        True when the table holds no rows.

    Raises
    ------
    ArchiveAnswerError
        With the service's words for ``QUERY_STATUS`` ERROR, an INFO named Error, another XML error
        document, or a document without a usable table.
    ArchiveOverflow
        If the service cut the table at a row limit.
    IncompleteDownload
        If the XML does not end.
    """
    reader = _read(content, where)
    _refuse_errors(reader, where)
    for name, value, text in reader.infos:
        if name == "QUERY_STATUS" and value.upper() == "OVERFLOW":
            msg = (
                f"{where}: cut at the row limit ({text or 'OVERFLOW'}); ask for less at once or raise MAXREC"
            )
            raise ArchiveOverflow(msg)
    if not reader.tables:
        msg = f"{where}: the VOTable holds no table"
        raise ArchiveAnswerError(msg)
    if not reader.fields:
        msg = f"{where}: the table in the VOTable has no columns"
        raise ArchiveAnswerError(msg)
    return reader.rows == 0 and reader.binary == 0


def _refuse_errors(reader: _Reader, where: str) -> None:
    words = [
        text or value
        for name, value, text in reader.infos
        if (name == "QUERY_STATUS" and value.upper() == "ERROR") or (name == "ERROR" and (value or text))
    ]
    if words:
        told = scrub("; ".join(words))[:_WORDS]
        msg = f"{where}: the service reports an error: {told}"
        raise ArchiveAnswerError(msg)
    if reader.root != "VOTABLE":
        told = scrub("; ".join(reader.messages))[:_WORDS]
        status = f" with status {reader.root_status!r}" if reader.root_status else ""
        msg = f"{where}: <{reader.root.lower()}> document{status} instead of a VOTable: {told}"
        raise ArchiveAnswerError(msg)
