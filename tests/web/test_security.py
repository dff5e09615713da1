"""Who is let in, what may be changed by whom, and what a page may load."""

from __future__ import annotations

import threading

import pytest
from support.vetting import EVIL, PORT, client, judge

PAGES = ("/", "/people", "/source?name=star_01", "/data/ahead", "/data/end")


def test_without_the_token_nothing_is_shown(project, numbers):
    stranger = client(project, entered=False)
    for path in (
        *PAGES,
        f"/candidate/{numbers[0]}",
        f"/data/candidate/{numbers[0]}",
        "/static/vet.js",
        "/bokeh/bokeh.min.js",
    ):
        answer = stranger.get(path)
        assert answer.status_code == 403, path
        assert "star_" not in answer.text
        assert stranger.get(path, headers={"cookie": f"vo_vet_{PORT}=guessed"}).status_code == 403
    assert stranger.get("/?token=guessed").status_code == 403
    assert not stranger.cookies


def test_the_token_becomes_a_cookie_that_scripts_and_other_sites_do_not_get(project):
    visitor = client(project, entered=False)
    answer = visitor.get(visitor.keys.address())
    given = answer.headers["set-cookie"]
    assert "HttpOnly" in given
    assert "SameSite=Strict" in given
    assert visitor.keys.token not in given + answer.text, "the address is worth nothing once it was used here"
    assert visitor.get("/").status_code == 200


def test_the_first_page_leads_to_this_server_only(project):
    visitor = client(project, entered=False)
    for path in ("//elsewhere.org/", '/"><script>x</script>', "/source?name=%22%3E%3Cscript%3E"):
        joined = f"{path}{'&' if '?' in path else '?'}token={visitor.keys.token}"
        answer = visitor.get(f"http://127.0.0.1:{PORT}{joined}")
        assert "<script>" not in answer.text
        assert "url=//" not in answer.text


def test_every_answer_forbids_what_is_from_outside_and_tells_nobody_where_one_came_from(project, numbers):
    visitor = client(project)
    for path in (*PAGES, f"/candidate/{numbers[0]}", "/nowhere", "/static/vet.js", "/candidate/987654"):
        headers = visitor.get(path).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'self';"), path
        assert "unsafe" not in policy
        assert "http" not in policy
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        if "static" not in path:
            assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "wrong",
    [
        {"origin": "http://evil.org"}, {"origin": "null"}, {"origin": ""}, {"origin": f"https://127.0.0.1:{PORT}"},
        {"origin": f"http://127.0.0.1:{PORT}.evil.org"}, {"x-vo-csrf": "guessed"}, {"x-vo-csrf": ""},
        {"content-type": "text/plain"}, {"content-type": "application/x-www-form-urlencoded"}, {"content-length": "9999999"},
    ],
    ids=str,
)  # fmt: skip
def test_no_other_page_can_judge(project, numbers, wrong):
    visitor = client(project)
    assert judge(visitor, numbers[0], "candidate", **wrong).status_code == 403
    assert project.verdicts().empty


@pytest.mark.parametrize(
    "host", ["evil.org", f"evil.org:{PORT}", f"127.0.0.1:{PORT + 1}", f"127.0.0.1:{PORT}.evil.org", ""]
)
def test_another_name_for_this_machine_is_refused(project, host):
    visitor = client(project)
    assert visitor.get("/", headers={"host": host}).status_code == 421


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static//etc/passwd", "/static/%00", "/static/",
        "/static/../../../../../../etc/passwd", "/bokeh/../bokeh.js", "/bokeh/..%5cbokeh.js", "/static/vet.js%00.txt", "/pages/base.html",
    ],
)  # fmt: skip
def test_only_the_files_of_the_page_are_served(project, path):
    answer = client(project).get(f"http://127.0.0.1:{PORT}{path}")
    assert answer.status_code == 404
    assert "import" not in answer.text


@pytest.mark.parametrize(
    "given",
    ["", "[", "null", "[1]", '{"id": 1}', '{"id": "1", "label": "other", "note": "", "before": 0}',
     '{"id": true, "label": "other", "note": "", "before": 0}', '{"id": 99999999999999999999, "label": "other", "note": "", "before": 0}',
     '{"id": 1, "label": "flare", "note": "", "before": 0}', '{"id": 1, "label": ["other"], "note": "", "before": 0}',
     '{"id": 1, "label": "other", "note": 5, "before": 0}', '{"id": -1, "label": "other", "note": "", "before": 0}', "[" * 30000],
)  # fmt: skip
def test_what_is_no_verdict_is_refused(project, given):
    visitor = client(project)
    headers = {
        "origin": f"http://127.0.0.1:{PORT}",
        "x-vo-csrf": visitor.keys.csrf,
        "content-type": "application/json",
    }
    assert visitor.post("/verdict", content=given, headers=headers).status_code == 400
    assert project.verdicts().empty


def test_a_note_of_any_letters_is_text_everywhere(project, numbers):
    visitor = client(project)
    note = f"{EVIL} =cmd() \x1b[31m ' OR 1=1 --"
    assert judge(visitor, numbers[0], "candidate", note=note).status_code == 200
    assert project.verdicts()["note"].tolist() == [note]
    assert judge(visitor, numbers[0], "candidate", note="a\0b").status_code == 400
    assert judge(visitor, numbers[0], "candidate", note="x" * 4001).status_code == 400
    shown = visitor.get(f"/data/candidate/{numbers[0]}").json()["html"]
    for page in (shown, visitor.get("/?judged=all").text):
        assert "&lt;script&gt;alert(1)&lt;/script&gt; =cmd()" in page
        assert "<script>alert" not in page


def test_a_name_that_is_a_script_is_shown_as_text(project):
    visitor = client(project)
    for path in ("/?judged=all", f"/source?name={EVIL}", f"/?source={EVIL}&judged=all"):
        text = visitor.get(path).text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text, path
        assert "<script>alert" not in text, path


def test_requests_beyond_what_the_server_takes_at_once_are_turned_away_and_it_goes_on(project, place):
    import urllib.error
    import urllib.request

    from support.vetting import vetting

    with vetting(place / "vetted.yaml", "--user", "ann", "--data", str(place / "data")) as (address, _):
        base = address.split("?")[0]
        with urllib.request.urlopen(address) as first:
            cookie = first.headers["set-cookie"].split(";")[0]
        seen = []

        def ask():
            for _ in range(25):
                request = urllib.request.Request(base, headers={"cookie": cookie})
                try:
                    with urllib.request.urlopen(request, timeout=60) as answer:
                        seen.append(answer.status)
                except urllib.error.HTTPError as error:
                    seen.append(error.code)
                except OSError:
                    seen.append(0)

        threads = [threading.Thread(target=ask) for _ in range(80)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        assert set(seen) <= {200, 503, 0}
        assert 503 in seen
        assert 200 in seen
        with urllib.request.urlopen(urllib.request.Request(base, headers={"cookie": cookie})) as answer:
            assert answer.status == 200


def test_the_server_listens_on_this_machine_only(project, place):
    import psutil
    from support.vetting import vetting

    with vetting(place / "vetted.yaml", "--user", "ann", "--data", str(place / "data")) as (_, running):
        listening = [
            one.laddr.ip for one in psutil.Process(running.pid).net_connections() if one.status == "LISTEN"
        ]
    assert listening == ["127.0.0.1"]
