"""A folder archive of simulated raw data, and what a project sees in it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from virtualobserver.data.product import RawRef

if TYPE_CHECKING:
    from virtualobserver.observatory import VirtualObservatory
    from virtualobserver.run.project import Project

__all__ = ["FolderArchive"]

_READ = """SELECT DISTINCT f.path FROM source_raw r JOIN task t ON t.id = r.task_id
JOIN raw_data d ON d.id = r.raw_data_id JOIN file f ON f.id = d.file_id WHERE t.digest = :digest"""


@dataclass(frozen=True)
class FolderArchive:
    """A survey whose archive is a folder.

    Parameters
    ----------
    survey
        The survey, with the options of its contract.
    entry
        What a configuration calls it.
    data, url
        Data folder and database of the project that reads the archive.
    """

    survey: VirtualObservatory
    entry: str
    data: Path
    url: str

    def write(self, folder: Path, seed: int = 1) -> list[Path]:
        """Write simulated raw data as a folder archive of the survey; return the files."""
        target = self.survey.contract.targets[0]
        raws = [RawRef.of(raw) for _, raw in self.survey.simulate_raw([target], np.random.default_rng(seed))]
        paths = []
        for name, content in self.survey.contract.files(target, raws).items():
            paths.append(folder / name)
            paths[-1].parent.mkdir(parents=True, exist_ok=True)
            paths[-1].write_bytes(content)
        return paths

    def opened(self, folder: Path) -> Project:
        """Return the project that reads a folder."""
        from virtualobserver.run.project import Project

        target = self.survey.contract.targets[0]
        row = {"name": target.name, "ra": target.ra, "dec": target.dec, "kind": target.kind}
        own = {**self.survey.contract.options, "archive": str(folder)}
        conf = {"name": "contract", "catalog": {"rows": [row]}, "observatories": {self.entry: own}}
        return Project.open(conf, data=self.data, url=self.url)

    def sees_changes(self, folder: Path, paths: list[Path], aside: Path) -> None:
        """Assert that every file is read, and that a run tells of new, changed and vanished files."""
        step = f"fetch:{self.survey.name}"
        new = f"{step}: 1 source has new or changed files: --refresh reads them"
        later = paths[-1].rename(aside)
        with self.opened(folder) as project:
            assert project.run(step="fetch").complete
            known = _raw_data(project)
            assert str(paths[-1]) not in known
            assert project.run(step="fetch", refresh=True).notes == []
            later.rename(paths[-1])
            assert project.run(step="fetch").notes == [new]
            assert project.run(step="fetch", refresh=True).counts[step] == {"done": 1}
            assert _raw_data(project) == known | {str(paths[-1])}
            indexes = {str(folder / name) for name in self.survey.contract.indexes}
            assert _raw_data(project) == {*map(str, paths)} - indexes, "fetch leaves files of the archive out"
            assert project.notes() == []
            state = paths[0].stat()
            os.utime(paths[0], ns=(state.st_atime_ns, state.st_mtime_ns + 10**9))
            assert project.run(step="fetch").notes == [new]
            assert project.run(step="fetch", refresh=True).worked == 1
            if len(paths) > 1:
                paths[-1].unlink()
                (told,) = project.run(step="fetch").notes
                assert "1 file that was read before is gone" in told
                project.run(step="fetch", refresh=True)
                assert _raw_data(project) == known

    def tells_folders_apart(self, folder: Path, other: Path) -> None:
        """Assert that another folder is other raw data, and that the first one is still known."""
        with self.opened(other) as project:
            assert project.run(step="fetch").worked == 1
            assert {Path(path).is_relative_to(other) for path in _raw_data(project)} == {True}
        with self.opened(folder) as project:
            assert project.run(step="fetch").worked == 0


def _raw_data(project: Project) -> set[str]:
    return set(project.sql(_READ, digest=project.steps[0].digest)["path"])
