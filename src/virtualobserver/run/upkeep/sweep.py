"""Removing what a crash left behind: temporary files, files without a row, rows that nothing refers to."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import text

from virtualobserver.run.upkeep.prune import remove_files

if TYPE_CHECKING:
    from virtualobserver.run.workspace import Workspace

__all__ = ["GRACE", "orphans_of", "sweep"]

GRACE = 3600.0
"""Age [s] up to which a file without a row may be one that a worker is about to commit."""


def sweep(workspace: Workspace, *, grace: float = GRACE) -> list[str]:
    """Remove temporary files, files without a row, and files no product and no raw data refer to.

    Parameters
    ----------
    grace
        What is younger than this [s] stays, for a worker may be about to commit it.

    Returns
    -------
    list of str
        Paths that were removed, relative to the data folder.
    """
    swept = [
        path.relative_to(workspace.store.root).as_posix() for path in workspace.store.sweep_temporary(grace)
    ]
    orphans = orphans_of(workspace, grace)
    with workspace.database.session() as session, session.begin():
        session.execute(
            text("""DELETE FROM file f WHERE created < now() - make_interval(secs => :grace)
            AND NOT EXISTS (SELECT FROM product p WHERE p.file_id = f.id)
            AND NOT EXISTS (SELECT FROM raw_data d WHERE d.file_id = f.id)
            RETURNING path, external"""),
            {"grace": grace},
        )
    orphans = [*dict.fromkeys([*orphans, *_histograms_without_project(workspace)])]
    return swept + remove_files(workspace, orphans)


def orphans_of(workspace: Workspace, grace: float) -> list[str]:
    """Return files of the store older than `grace` seconds; those that have a row are sorted out later."""
    limit = time.time() - grace
    found = []
    for path in workspace.store.files():
        with suppress(FileNotFoundError):
            full = workspace.store.root / path
            if not path.startswith("histograms/") and not full.is_symlink() and full.stat().st_mtime <= limit:
                found.append(path)
    external = _external_folders(workspace)
    return [
        path
        for path in found
        if not external & {str(p) for p in (workspace.store.root / path).resolve().parents}
    ]


def _external_folders(workspace: Workspace) -> set[str]:
    """Return the folders of archive files that lie inside the data folder, as a user's archive may."""
    root = workspace.store.root.resolve()
    with workspace.database.session() as session:
        paths = session.execute(text("SELECT path FROM file WHERE external AND path IS NOT NULL")).scalars()
        folders = {Path(path).parent for path in paths}
    return {str(folder) for folder in folders if folder.is_relative_to(root) and folder != root}


def _histograms_without_project(workspace: Workspace) -> list[str]:
    with workspace.database.session() as session:
        names = set(session.execute(text("SELECT name FROM project")).scalars())
    paths = (path for path in workspace.store.files() if path.startswith("histograms/"))
    return [path for path in paths if path.split("/")[1] not in names]
