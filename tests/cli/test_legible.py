"""What names and notes hold is shown as text: no terminal and no table obeys it."""

from __future__ import annotations

import pandas as pd
import pytest

from virtualobserver.cli.show import Format, note, print_frame
from virtualobserver.words import legible

EVIL = "=cmd() \x1b[31m[red]x[/red] \x9b2J\u202eabc\x00\\[bold]"
SHOWN = "=cmd() \\x1b[31m[red]x[/red] \\x9b2J\\u202eabc\\x00\\[bold]"


def test_what_a_terminal_would_obey_is_written_as_escapes():
    assert legible(EVIL) == SHOWN
    assert legible("HD 1, β Pictoris 0.3″\u00a0± 2") == "HD 1, β Pictoris 0.3″\u00a0± 2"
    assert legible("two\nlines\r", keep="\n") == "two\nlines\\r"


@pytest.mark.parametrize("terminal", [True, False])
def test_a_table_shows_cells_and_names_of_columns_as_they_stand(capsys, monkeypatch, terminal):
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("COLUMNS", "400")
    frame = pd.DataFrame({"[red]kind": [EVIL], "list": [[True, None]], "n": [1]})
    print_frame(frame, Format.table, title="[blue]sources\x1b[2J")
    out = capsys.readouterr().out
    assert SHOWN in out
    assert "[red]kind" in out
    assert "[true, null]" in out
    assert "[blue]sources\\x1b[2J" in out
    for obeyed in ("\x1b[31m[red]", "\x1b[2J", "\x9b", "\u202e", "\x00"):
        assert obeyed not in out


def test_a_message_shows_a_name_as_text_and_keeps_its_lines(capsys):
    note(f"vo: no star {EVIL}\nand no other")
    assert capsys.readouterr().err == f"vo: no star {SHOWN}\nand no other\n"
