"""What tests of commands share: a folder in which a search was run once, and a way to call `vo` there."""

from __future__ import annotations

import pytest
from support.cli import searched

from virtualobserver.cli import main


@pytest.fixture(scope="module")
def place(request, tmp_path_factory):
    """Return a folder with the configuration of the module, run once; its server stays up for the module."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "search.yaml").write_text(request.module.CONFIG)
    with searched(folder, folder / "search.yaml"):
        yield folder


@pytest.fixture
def vo(place, monkeypatch, capsys):
    """Return a function that runs a command and gives exit code, output and messages."""
    monkeypatch.chdir(place)

    def call(*words):
        code = main([str(word) for word in words])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call
