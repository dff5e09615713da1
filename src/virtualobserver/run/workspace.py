"""Where everything lives: one data folder with its store and its database."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import text

from virtualobserver.db.engine import Database
from virtualobserver.io.store import Store

__all__ = ["Workspace", "data_root"]


def data_root(path: str | Path | None = None) -> Path:
    """Return the data folder: `path`, else ``VO_DATA``, else ``results/data``; absolute."""
    return Path(path or os.environ.get("VO_DATA") or Path("results") / "data").expanduser().resolve()


# Addresses in the view obscore start here; nothing is written where nothing changed.
_PLACE = text("""
    INSERT INTO place (id, root) SELECT 1, :root WHERE NOT EXISTS (SELECT FROM place WHERE root = :root)
    ON CONFLICT (id) DO UPDATE SET root = excluded.root""")


class Workspace:
    """A data folder: its `store` and its `database`, opened when made and closed by `close`."""

    def __init__(self, root: str | Path | None = None, *, url: str | None = None) -> None:
        self.root = data_root(root)
        self.root.mkdir(parents=True, exist_ok=True)
        self.store = Store(self.root)
        self.database = Database.open(self.root, url=url, info={"store": self.store})
        with self.database.session() as session:
            session.execute(_PLACE, {"root": str(self.root.resolve())})
            session.commit()

    def close(self) -> None:
        """Close the database; an embedded server stops with its last user."""
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        self.database.explain(error)
