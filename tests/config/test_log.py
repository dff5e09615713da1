"""What is told of a run while it goes on: events with named values, and no secrets."""

from __future__ import annotations

import io
import json
import logging

import pytest

from virtualobserver.cli import main
from virtualobserver.config.log import get_logger, hide, show

CONFIG = """\
name: told
catalog: {rows: [{name: one, ra: 10, dec: 20}]}
observatories: {ztf: {archive: files}}
analyses: {transients: {}}
"""


def events_in(text):
    """Return the events of a log, one in each line."""
    assert "Logging error" not in text, text
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def events(capsys):
    """Return a function that gives what was written as JSON since it was last asked."""
    handler = show(verbosity=1, as_json=True)
    yield lambda: events_in(capsys.readouterr().err)
    hide(handler)


def test_an_event_has_its_values_its_level_its_origin_and_utc(events):
    get_logger("virtualobserver.run.x").info("task failed", task=12, name="odd", seconds=0.5)
    (event,) = events()
    assert event.items() >= {"event": "task failed", "task": 12, "name": "odd", "level": "info"}.items()
    assert event["logger"] == "virtualobserver.run.x"
    assert event["timestamp"].endswith("Z")


def test_details_are_left_out_unless_asked_for(events, capsys):
    log = get_logger("virtualobserver.x")
    log.debug("detail")
    assert events() == []
    handler = show(verbosity=2, as_json=True)
    log.debug("detail")
    assert "detail" in capsys.readouterr().err
    hide(handler)


def test_fault_23_secrets_of_the_environment_and_of_urls_are_masked(events, monkeypatch):
    monkeypatch.setenv("VO_ZTF_PASSWORD", "pl4nted-secret")
    log = get_logger("virtualobserver.x")
    log.warning("refused", url="https://me:hush-hush@host/a?token=abcdefgh", said="pl4nted-secret is wrong")
    (event,) = events()
    shown = json.dumps(event)
    assert "host" in shown
    for secret in ("hush-hush", "abcdefgh", "pl4nted-secret"):
        assert secret not in shown


def test_nothing_is_told_unless_asked_for(capsys):
    get_logger("virtualobserver.x").error("bad")
    printed = capsys.readouterr()
    assert printed.out + printed.err == ""


def test_plain_handlers_of_python_show_text_with_the_values_and_no_secrets(monkeypatch):
    monkeypatch.setenv("VO_ZTF_PASSWORD", "pl4nted-secret")
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("virtualobserver")
    logger.addHandler(handler)
    logger.setLevel("INFO")
    log = get_logger("virtualobserver.run.x")
    log.info("task failed", folder="/a b", task=12, unit="", error="pl4nted-secret 100%")
    try:
        raise ValueError("broken")
    except ValueError:
        log.exception("odd")
    hide(handler)
    first, second, *rest = written.getvalue().splitlines()
    assert first == "INFO virtualobserver.run.x: task failed (folder /a b, task 12): *** 100%"
    assert second == "ERROR virtualobserver.run.x: odd"
    assert rest[-1] == "ValueError: broken"


def test_messages_of_plain_logging_are_shown_beside_events(events):
    logging.getLogger("virtualobserver.x").warning("%d of %d", 1, 2)
    (event,) = events()
    assert event["event"] == "1 of 2"


def test_the_command_tells_of_servers_runs_and_failed_tasks_as_json(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VO_DATABASE_URL", raising=False)
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "one.csv").write_text("<html>no data today</html>\n")
    (tmp_path / "told.yaml").write_text(CONFIG)
    assert main(["--log-json", "run", "told.yaml", "--data", str(tmp_path / "data"), "--json"]) == 1
    printed = capsys.readouterr()
    assert json.loads(printed.out)["failed"] == 1
    told = {event["event"]: event for event in events_in(printed.err)}
    assert list(told) == ["server started", "run started", "task failed", "run ended", "server stops"]
    assert told["task failed"]["source"] == "one"
    assert told["task failed"]["step"] == "fetch:ztf"
    assert told["run ended"]["failed"] == 1
    assert main(["status", "told.yaml", "--data", str(tmp_path / "data")]) == 0
    assert "server" not in capsys.readouterr().err
