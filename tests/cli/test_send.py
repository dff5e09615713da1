"""Tables and positions reach programs at a SAMP hub of this machine; without a hub that is said."""

from __future__ import annotations

import warnings
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pytest
from support.cli import search

from virtualobserver.io.tables import read_any

CONFIG = search("samp_test")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Return a hub on the loopback interface, its lock file in a folder of the test."""
    from pyvo.samp import SAMPHubServer, conf

    lock = tmp_path / "lock"
    monkeypatch.setenv("SAMP_HUB", f"std-lockurl:{lock.as_uri()}")
    monkeypatch.setenv("HOME", str(tmp_path))
    with conf.set_temp("use_internet", False), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        running = SAMPHubServer(web_profile=False, addr="127.0.0.1", lockfile=str(lock))
        running.start()
        yield running
        running.stop()


class Program:
    """A program at the hub that loads tables and turns to positions."""

    def __init__(self, name, *, refuses=False):
        from pyvo.samp import SAMPIntegratedClient

        self.tables, self.places, self.refuses = [], [], refuses
        self.client = SAMPIntegratedClient(name=name, addr="127.0.0.1")
        self.client.connect()
        self.client.bind_receive_call("table.load.votable", self.load)
        self.client.bind_receive_call("coord.pointAt.sky", self.turn)

    def load(self, key, sender, number, message, values, extra):
        from pyvo.samp import SAMP_STATUS_ERROR, SAMP_STATUS_OK

        self.tables.append((values["name"], read_any(Path(url2pathname(urlsplit(values["url"]).path)))))
        if self.refuses:
            wrong = {
                "samp.status": SAMP_STATUS_ERROR,
                "samp.result": {},
                "samp.error": {"samp.errortxt": "too big"},
            }
            self.client.reply(number, wrong)
        else:
            self.client.reply(number, {"samp.status": SAMP_STATUS_OK, "samp.result": {}})

    def turn(self, key, sender, number, message, values, extra):
        self.places.append((float(values["ra"]), float(values["dec"])))
        self.client.reply(number, {"samp.status": "samp.ok", "samp.result": {}})


@pytest.fixture
def program(hub):
    """Return a function that starts a program at the hub."""
    started = []

    def start(name, **options):
        started.append(Program(name, **options))
        return started[-1]

    yield start
    for one in started:
        one.client.disconnect()


def test_detections_are_loaded_by_the_programs_that_are_meant(vo, program):
    topcat, other = program("topcat"), program("Aladin")
    code, out, err = vo("send", "search.yaml", "detections", "--simulated", "--to", "TOPCAT")
    assert code == 0, err
    ((name, frame),) = topcat.tables
    assert name == "samp_test detections"
    assert out.endswith(f"{len(frame)} rows to topcat\n")
    assert set(frame["source"]) <= {"one", "two", "three"}
    assert len(frame) >= 3
    assert other.tables == []


def test_of_a_source_position_and_light_curves_are_sent(vo, program):
    aladin = program("Aladin")
    code, out, err = vo("send", "search.yaml", "two")
    assert code == 0, err
    assert aladin.places == [(30.0, 40.0)]
    ((name, frame),) = aladin.tables
    assert name == "two series_R"
    assert len(frame) == 60
    assert frame.attrs["units"]["flux"] == "uJy"
    assert "Aladin turned to 30.000000, +40.000000 deg" in out
    code, _, err = vo("send", "search.yaml", "nobody")
    assert code == 2
    assert "nobody" in err


def test_what_a_program_cannot_load_is_said_in_its_words(vo, program):
    program("topcat", refuses=True)
    code, _, err = vo("send", "search.yaml", "sources", "--simulated")
    assert code == 3
    assert "topcat could not do table.load.votable: too big" in err


def test_without_a_hub_or_a_program_the_command_says_what_to_start(vo, hub, tmp_path, monkeypatch):
    code, _, err = vo("send", "search.yaml", "sources", "--to", "topcat")
    assert code == 3
    assert "no program topcat takes table.load.votable; start TOPCAT or Aladin" in err
    monkeypatch.setenv("SAMP_HUB", f"std-lockurl:{(tmp_path / 'nothing').as_uri()}")
    code, _, err = vo("send", "search.yaml", "detections")
    assert code == 3
    assert "no SAMP hub runs on this machine: start TOPCAT or Aladin" in err
