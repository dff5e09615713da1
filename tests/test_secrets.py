"""No secret is shown: in any form it may have, on any way out."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote, quote_plus

import pytest

from virtualobserver.config import scrub as scrub_known
from virtualobserver.config.log import get_logger, hide, show
from virtualobserver.data.product import Target
from virtualobserver.run.tasks.task import Claim, Outcome
from virtualobserver.secrets import holds_password, is_secret_name, scrub, scrub_url

SECRET = "pl4nted&se/cret+9"
WORD = "Hunter2hunter2"
BY_NAME = [
    f"client_secret={WORD}",
    f"client-secret: {WORD}",
    f"userpass={WORD}",
    f"user_pass={WORD}",
    f"https://h/q?ra=1&userpass={WORD}&email=me%40x.org",
    f"https://h/q?sid={WORD}",
    f"https://h/q?sig={WORD}&a=1",
    f"https://h/q?key={WORD}",
    f"https://h/q?X-Amz-Signature={WORD}&X-Amz-Credential={WORD}",
    f"https://h/login?next=https%3A%2F%2Fh%2Fq%3Ftoken%3D{WORD}%26a%3D1",
    f"sid={WORD}",
    f"sig={WORD}",
    f"session={WORD}",
    f"api-key: {WORD}",
    f"api_key={WORD}",
    f"apikey='{WORD}'",
    f"X-Api-Key: {WORD}",
    f"PRIVATE-TOKEN: {WORD}",
    f"aws_secret_access_key={WORD}",
    f"AWS_ACCESS_KEY_ID={WORD}",
    f"passphrase: {WORD}",
    f"pwd={WORD}",
    f"PGPASSWORD={WORD} psql",
    f"dbpassword={WORD}",
    f"DB_PASS={WORD}",
    f"accessToken={WORD}",
    f"authToken: {WORD}",
    f"https://h/q?sessionToken={WORD}&a=1",
    f"private_key={WORD}",
    f"'privateKey': '{WORD}'",
    f"Cookie: session={WORD}; other={WORD}",
    f"Set-Cookie: JSESSIONID={WORD}; Path=/",
    f"{{'Cookie': 'session={WORD}'}}",
    f"Authorization: Basic {base64.b64encode(f'me:{WORD}'.encode()).decode()}",
    f"'Authorization': 'Bearer {WORD}'",
    f"Authorization: Digest username=me, response={WORD}",
    f"Proxy-Authorization: {WORD}",
    f"sent Bearer {WORD}",
    f"{{'password': 'with blanks {WORD}', 'a': 1}}",
    json.dumps({"password": WORD, "a": 1}),
    json.dumps(json.dumps({"password": WORD})),
    f"password = {WORD};x",
    f"VO_SKY_PASSWORD={WORD}",
    f"https://me:{WORD}@host/path",
    f"https://me:{WORD}@{WORD}@host/path",
    f"postgresql+psycopg2://vo:{WORD}@db:5432/vo",
]
FORMS = [
    SECRET,
    quote(SECRET, safe=""),
    quote(SECRET),
    quote_plus(SECRET),
    json.dumps(SECRET),
    repr(SECRET),
    SECRET.encode().hex(),
    base64.b64encode(SECRET.encode()).decode(),
    base64.urlsafe_b64encode(SECRET.encode()).decode().rstrip("="),
    base64.b64encode(f"me:{SECRET}".encode()).decode(),
    base64.b64encode(f"ab:{SECRET}".encode()).decode(),
    base64.b64encode(f"abc:{SECRET}\n".encode()).decode(),
    SECRET.replace("&", "&amp;"),
]


def by_scrub(text):
    return scrub(text, [SECRET])


def by_address(text):
    return scrub_url(f"https://me:{WORD}@h/q?a=1&token={quote_plus(text)}")


def by_configuration(text):
    return scrub_known(text, env={"VO_SKY_PASSWORD": SECRET})


def by_failure(text):
    claim = Claim(1, 1, "", 1, 0, Target("a"), "")
    try:
        raise ValueError(text)
    except ValueError as error:
        failed = Outcome.failure(claim, error)
    return f"{failed.error}\n{failed.traceback}"


WAYS = {"scrub": by_scrub, "configuration": by_configuration, "failure": by_failure}


@pytest.fixture
def planted(monkeypatch):
    monkeypatch.setenv("VO_SKY_PASSWORD", SECRET)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("text", BY_NAME)
def test_what_follows_the_name_of_a_secret_is_masked(planted, text, way):
    shown = WAYS[way](f"it failed with {text}")
    assert WORD not in shown
    assert base64.b64encode(f"me:{WORD}".encode()).decode() not in shown
    assert "***" in shown
    assert "it failed with" in shown


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("form", FORMS)
def test_a_known_secret_is_masked_in_every_form(planted, form, way):
    shown = WAYS[way](f"it says <{form}> here")
    assert form not in shown
    assert "***" in shown
    assert shown.rstrip().count("here") >= 1


@pytest.mark.parametrize("text", [*BY_NAME, *FORMS])
def test_events_of_the_log_show_none_of_them(planted, capsys, text):
    handler = show(verbosity=1, as_json=True)
    log = get_logger("virtualobserver.x")
    try:
        raise RuntimeError(text)
    except RuntimeError as error:
        log.warning(f"event {text}", said=text, headers={"a": [text]}, error=error, exc_info=True)
    hide(handler)
    told = capsys.readouterr().err
    assert "Logging error" not in told
    shown = json.loads(told)
    for value in (
        json.dumps(shown),
        shown["event"],
        shown["said"],
        str(shown["headers"]),
        shown["exception"],
    ):
        assert WORD not in value
        assert SECRET not in value
    if text in FORMS:
        assert text not in shown["said"]
    handler = show(verbosity=1, as_json=True)
    log.warning("x", password=WORD, nested={"api_key": WORD})
    hide(handler)
    assert WORD not in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    [
        "key: oid; session = 3, auth: failed, sid=4",
        "missing key: 'mjd'",
        "5 tokens: a, b",
        "nothing to hide at 12:30:00",
        "the primary key=source_id is there twice",
        "compass: north, bypass=1, secretary: yes",
        "the signature of f(x) and a basic idea",
        "user a@b, e-mail is not given",
        "SELECT token_count FROM x WHERE monkey = 3",
    ],
)
def test_harmless_words_stay(text):
    assert scrub(text) == text


def test_user_names_stay_in_addresses_only_where_asked_for():
    text = "postgresql://vo:hunter2@db/vo and https://me@h/x"
    assert scrub(text, users=True) == "postgresql://vo:***@db/vo and https://me@h/x"
    assert scrub(text) == "postgresql://***@db/vo and https://***@h/x"


def test_short_secrets_are_masked_as_whole_words_only():
    assert scrub("a1 and ba1b and a1.", ["a1"]) == "*** and ba1b and ***."


def test_addresses_with_passwords_and_names_of_secrets_are_known():
    assert holds_password("see ftp://a:b@h/")
    assert not holds_password("see ftp://a@h/ at 12:30 me@x")
    assert is_secret_name("client_secret", anywhere=True)
    assert is_secret_name("sid")
    assert not is_secret_name("sid", anywhere=True)
    assert not is_secret_name("ra")
    assert WORD not in by_address(WORD)
