"""A SkyPortal on the loopback interface: remembers what it is sent, and fails as told.

What it takes and answers is written after the documentation of SkyPortal's handlers.
"""

from __future__ import annotations

import itertools
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "c7a1f0aa-skyportal-token"
REQUIRED = {"magsys", "mjd", "filter", "obj_id", "instrument_id", "fluxerr", "zp", "flux", "group_ids"}
INSTRUMENTS = {5: {"ztfg", "ztfr", "bessellr"}}
LOSE = "lose"
"""What is asked is done, and the answer never comes."""


class Refused(Exception):
    """An error of the SkyPortal: status 400 with its words."""


class FakeSkyPortal:
    """State of the server: groups by source, points and annotations by number."""

    def __init__(self) -> None:
        self.saved: dict[str, set[int]] = {}
        self.points: dict[int, dict] = {}
        self.annotations: dict[int, dict] = {}
        self.asked: list[tuple[str, str]] = []
        self.failing: dict[tuple[str, str], list] = {}
        self._numbers = itertools.count(100)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def fail(self, method: str, path: str, *how: int | str) -> None:
        """Fail at the next requests: a status each, or `LOSE`."""
        self.failing[method, path] = list(how)

    def sent(self, *methods: str) -> list[tuple[str, str]]:
        return [one for one in self.asked if one[0] in (methods or ("POST", "PUT", "DELETE"))]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, method: str, path: str, query: dict, body: dict) -> object:
        words = [unquote(word) for word in path.split("/")[2:]]
        if words[:1] == ["sources"] and words[2:3] == ["annotations"]:
            return self._annotation(method, words[1], words[3:], body)
        if (method, words) == ("GET", ["sources"]):
            group = int(query["group_ids"][0])
            part = query["sourceID"][0].strip().lower()
            named = [one for one in self.saved if part in one.lower() and group in self.saved[one]]
            rows, page = (int(query[name][0]) for name in ("numPerPage", "pageNumber"))
            shown = named[(page - 1) * rows : page * rows]
            return {"sources": [{"id": one} for one in shown], "totalMatches": len(named)}
        if (method, words) == ("POST", ["sources"]):
            return self._save(body)
        if (method, words) == ("POST", ["source_groups"]):
            self.saved[body["objId"]] -= set(body["unsaveGroupIds"])
            return None
        if (method, words) == ("PUT", ["photometry"]):
            return self._photometry(body)
        if method == "DELETE" and words[:2] == ["photometry", "bulk_delete"]:
            return self._delete([n for n, one in self.points.items() if one["upload_id"] == words[2]])
        if method == "DELETE" and words[:1] == ["photometry"]:
            return self._delete([n for n in self.points if n == int(words[1])])
        raise Refused(f"no handler for {method} {path}")

    def _save(self, body: dict) -> object:
        if not re.fullmatch(r"[a-zA-Z0-9_\-;:+.]+", body["id"]):
            raise Refused(
                "Only letters, numbers, underscores, semicolons, colons, +, -, and periods are allowed"
            )
        assert -90 <= body["dec"] <= 90
        assert 0 <= body["ra"] < 360
        self.saved.setdefault(body["id"], set()).update(body["group_ids"])
        return {"id": body["id"]}

    def _photometry(self, body: dict) -> object:
        if missing := REQUIRED - body.keys():
            raise Refused(f"missing required field {missing}")
        if body["obj_id"] not in self.saved or body["filter"] not in INSTRUMENTS[body["instrument_id"]]:
            raise Refused("Invalid object ID, or the instrument has no such filter")
        shared = [body[name] for name in ("obj_id", "instrument_id", "filter", "origin")]
        known = {one["hash"]: number for number, one in self.points.items()}
        upload, new, old = f"upload-{next(self._numbers)}", [], []
        for mjd, flux, error in zip(body["mjd"], body["flux"], body["fluxerr"], strict=True):
            key = (*shared, mjd, flux, error)
            if key in known:
                old.append(known[key])
                continue
            new.append(next(self._numbers))
            self.points[new[-1]] = {
                "hash": key,
                "upload_id": upload,
                "mjd": mjd,
                "flux": flux,
                "zp": body["zp"],
            }
        return {"ids": sorted(old + new)} | ({"upload_id": upload} if new else {})

    def _delete(self, numbers: list[int]) -> object:
        if not numbers:
            raise Refused("no such photometry")
        for number in numbers:
            del self.points[number]
        return f"Deleted {len(numbers)} photometry point(s)."

    def _annotation(self, method: str, source: str, words: list[str], body: dict) -> object:
        if method == "GET":
            return [{"id": n} | one for n, one in self.annotations.items() if one["obj_id"] == source]
        if method == "POST":
            pairs = [(one["obj_id"], one["origin"]) for one in self.annotations.values()]
            if (source, body["origin"]) in pairs:
                raise Refused("Only one Annotation per origin is allowed")
            number = next(self._numbers)
        else:
            number = int(words[0])
            if number not in self.annotations:
                raise Refused("no such annotation")
        if method == "DELETE":
            del self.annotations[number]
            return None
        self.annotations[number] = {"obj_id": source, "origin": body["origin"], "data": body["data"]}
        return {"annotation_id": number} if method == "POST" else None


def _handler(portal: FakeSkyPortal) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

        def _reply(self, status: int, told: dict) -> None:
            content = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            portal.asked.append((self.command, parts.path))
            how = portal.failing.get((self.command, parts.path)) or [None]
            how = how.pop(0)
            if self.headers.get("Authorization") != f"token {TOKEN}":
                how = 401
            if isinstance(how, int):
                self._reply(how, {"status": "error", "message": "Unauthorized" if how == 401 else "failed"})
                return
            try:
                body = json.loads(content) if content else {}
                found = portal.answer(self.command, parts.path, parse_qs(parts.query), body)
            except Refused as error:
                self._reply(400, {"status": "error", "message": str(error)})
                return
            if how == LOSE:
                self.close_connection = True
                return
            self._reply(200, {"status": "success", "data": found})

        do_POST = do_PUT = do_DELETE = do_GET

    return Handler
