from __future__ import annotations

import base64
import logging
import traceback
from pathlib import Path
from typing import Any

import pytest
from support.config import resolve

from virtualobserver.config import Credentials, credentials_file, known_secrets, load, scrub
from virtualobserver.errors import ConfigError

SECRET = "pl4nted&secret"


def private(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "credentials.yaml"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_environment_gives_credentials() -> None:
    env = {"VO_SKY_USERNAME": "me", "VO_SKY_PASSWORD": SECRET, "XDG_CONFIG_HOME": "/nowhere"}
    found = Credentials.find("sky", env=env)
    assert (found.username, found.password, found.token, found.origin) == ("me", SECRET, None, "environment")
    assert not Credentials.find("other", env=env)


def test_private_file_gives_credentials_and_environment_wins(tmp_path: Path) -> None:
    path = private(tmp_path, f"SKY:\n  username: me\n  password: {SECRET}\nother: {{token: 123}}\n")
    env = {"VO_CREDENTIALS": str(path)}
    assert Credentials.find("sky", env=env).password == SECRET
    assert Credentials.find("other", env={}, file=path).token == "123"
    found = Credentials.find("sky", env={**env, "VO_SKY_PASSWORD": "newer"})
    assert (found.username, found.password) == ("me", "newer")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_file_that_others_can_read_is_refused_with_the_command(tmp_path: Path, mode: int) -> None:
    path = private(tmp_path, f"sky: {{password: {SECRET}}}\n", mode)
    with pytest.raises(ConfigError, match=f"chmod 600 {path}") as caught:
        Credentials.find("sky", env={}, file=path)
    assert SECRET not in str(caught.value)


def test_named_file_has_to_exist_and_the_usual_one_need_not(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        Credentials.find("sky", env={"VO_CREDENTIALS": str(tmp_path / "none.yaml")})
    env = {"XDG_CONFIG_HOME": str(tmp_path)}
    assert credentials_file(env) == tmp_path / "virtualobserver" / "credentials.yaml"
    assert not Credentials.find("sky", env=env)


def test_malformed_file_is_refused_without_showing_its_content(tmp_path: Path) -> None:
    for text in (f"sky: {SECRET}\n", f"sky: {{pasword: {SECRET}}}\n", f"sky: [{SECRET}]\n"):
        with pytest.raises(ConfigError) as caught:
            Credentials.find("sky", env={}, file=private(tmp_path, text))
        assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_fault_23_credentials_show_themselves_masked(caplog: pytest.LogCaptureFixture) -> None:
    found = Credentials("sky", "someone", SECRET, SECRET)
    logging.getLogger("x").warning("%s %r", found, found)
    for text in (repr(found), str(found), f"{found}", caplog.text, repr([found])):
        assert SECRET not in text
        assert "someone" not in text
        assert "***" in text


@pytest.mark.parametrize(
    "text",
    [
        f"failed with {SECRET}!",
        "https://host/x?key=pl4nted%26secret",
        "Authorization: Basic " + base64.b64encode(f"me:{SECRET}".encode()).decode(),
        base64.b64encode(SECRET.encode()).decode(),
        f"https://me:{SECRET}@host/path",
    ],
)
def test_fault_23_scrub_masks_known_secrets_in_all_spellings(text: str) -> None:
    clean = scrub(text, env={"VO_SKY_PASSWORD": SECRET})
    assert "***" in clean
    assert "pl4nted" not in clean
    assert base64.b64encode(SECRET.encode()).decode() not in clean
    assert base64.b64encode(f"me:{SECRET}".encode()).decode() not in clean
    assert "pl4nted" not in scrub(f"x {SECRET}", env={}, secrets=Credentials("sky", "a", SECRET).secrets)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("postgresql://vo:hunter2@db:5432/vo", "postgresql://vo:***@db:5432/vo"),
        ("GET /x?token=hunter2&a=1", "GET /x?token=***&a=1"),
        ("{'password': 'hunter2', 'a': 1}", "{'password': '***', 'a': 1}"),
        ("'Authorization': 'Bearer hunter2'", "'Authorization': 'Bearer ***'"),
        ("nothing to hide at 12:30:00", "nothing to hide at 12:30:00"),
    ],
)
def test_fault_23_scrub_masks_unknown_secrets_by_their_place(text: str, clean: str) -> None:
    assert scrub(text, env={}) == clean


def test_fault_23_database_password_is_known() -> None:
    env = {"VO_DATABASE_URL": "postgresql://vo:hunter%21@db/vo"}
    assert scrub("no entry for hunter! or hunter%21", env=env) == "no entry for *** or ***"


def test_known_secrets_come_from_environment_and_file(tmp_path: Path) -> None:
    path = private(tmp_path, "sky: {username: me, password: a1}\nother: {token: b2}\n")
    assert known_secrets(env={"VO_SKY_TOKEN": "c3", "HOME": "/x"}, file=path) == ("c3", "a1", "b2")


@pytest.mark.parametrize(
    "section",
    [
        {"password": SECRET},
        {"observatories": {"sky": {"Password": SECRET}}},
        {"observatories": {"token": SECRET}},
        {"catalog": {"rows": [{"name": "a", "password": SECRET}]}},
        {"observatories": {"sky": {"archive": f"https://me:{SECRET}@host/"}}},
        {"observatories": {"sky": {"credentials": {"x": SECRET}}}},
    ],
)
def test_fault_23_secret_in_a_project_is_refused_and_not_repeated(section: dict[str, Any]) -> None:
    for source, overrides in (({"name": "x", **section}, {}), ({"name": "x"}, section)):
        with pytest.raises(ConfigError, match="environment") as caught:
            load(source, overrides, resolve=resolve, env={})
        assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_fault_23_resolved_settings_hold_no_secret() -> None:
    env = {"VO_SKY_PASSWORD": SECRET, "XDG_CONFIG_HOME": "/nowhere"}
    resolved = load({"name": "x", "observatories": ["sky"]}, resolve=resolve, env=env)
    assert resolved.credentials["sky"].password == SECRET
    for text in (resolved.dump(), repr(resolved), str(resolved.table()), str(resolved.origins)):
        assert SECRET not in text
    assert [row.origin for row in resolved.table() if row.path == "credentials.sky"] == ["environment"]
