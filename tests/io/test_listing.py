"""Folders of archives: links are followed, nothing is passed over without a word, nothing is waited for."""

from __future__ import annotations

import os
import socket

import pytest

from virtualobserver.errors import ArchiveError
from virtualobserver.io import listing
from virtualobserver.io.listing import files_below, folders_below, stamps, walk


def test_a_linked_night_is_there_once_and_a_circle_of_links_ends(tmp_path):
    night = tmp_path / "disk" / "night"
    night.mkdir(parents=True)
    (night / "a.fits").write_bytes(b"a")
    archive = tmp_path / "archive"
    archive.mkdir()
    (archive / "2024-05-01").symlink_to(night)
    (archive / "again").symlink_to(night)
    (night / "up").symlink_to(archive)
    assert files_below([archive]) == [archive / "2024-05-01" / "a.fits"]
    assert folders_below([archive]) == [archive, archive / "2024-05-01"]


def test_pipes_and_sockets_are_no_files_and_a_link_that_leads_nowhere_is_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text("a")
    os.mkfifo(tmp_path / "b.csv")
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind("c.csv")
    (tmp_path / "d.csv").symlink_to(tmp_path / "nowhere")
    (tmp_path / "e.csv").symlink_to(tmp_path / "e.csv")
    (tmp_path / "._a.csv").write_text("what macOS adds on a foreign disk")
    (tmp_path / "lost+found").mkdir(mode=0)
    assert [path.name for path in files_below([tmp_path], (".csv",))] == ["a.csv", "d.csv", "e.csv"]
    assert [*stamps(files_below([tmp_path]))] == [str(tmp_path / "a.csv")]
    assert folders_below([tmp_path]) == [tmp_path]


def test_a_folder_that_is_taken_away_is_not_entered(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    seen = []
    for where, folders, _ in walk(tmp_path):
        seen.append(where)
        if where == tmp_path:
            folders.remove("a")
    assert seen == [tmp_path, tmp_path / "b"]


def test_a_folder_that_cannot_be_listed_is_an_error_that_names_it(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "theirs").mkdir()
    real = os.scandir

    def scandir(path):
        if path == tmp_path / "theirs":  # as for somebody without the right, whoever runs this test
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(listing.os, "scandir", scandir)
    with pytest.raises(ArchiveError, match=r"theirs cannot be listed \(Permission denied\); mend that"):
        files_below([tmp_path])
