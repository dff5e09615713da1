"""The vetting page with many candidates: the queue and its counts, and the next candidate after a key, in a browser.

One search makes products of some stars; the server then copies their detections until there are as many as wanted.
Without chromium only what the server takes is measured. Memory is the server's.

With ``movers``: the movers of the demonstration of LSSS and the bodies that were put together from them, copied until
there are as many as wanted, all in one field; a body has 12 detections, and so has its mover.

Usage: python benchmarks/bench_vet.py [candidates]
       python benchmarks/bench_vet.py movers [movers]
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from sqlalchemy import text

from virtualobserver import Project
from virtualobserver.web.queue import Filter, Viewer, ahead, page
from virtualobserver.web.tally import tally

CANDIDATES = 100_000
STARS = 200
JUDGED = 0.3  # of the candidates have been judged
KEYS = 12
DRAWN = """() => queue.length > 1 && ready.has(queue[0])
  && document.querySelectorAll('.unseen .picture[data-drawn]').length > 1"""
NEXT = """async () => { const old = now.id, begin = performance.now(); judge("other");
  while (!now || now.id === old || !now.place.querySelector("[data-drawn]")) await new Promise(requestAnimationFrame);
  return (performance.now() - begin) / 1000; }"""
COPY = """
INSERT INTO detection (source_id, task_id, product_id, event, analysis, kind, start_mjd, peak_mjd, end_mjd, ra, dec,
  band, snr, score, quality, parameters, simulated)
SELECT d.source_id, d.task_id, d.product_id, 1000 + n, d.analysis, (ARRAY['flare', 'dip'])[1 + n % 2], d.start_mjd,
  d.peak_mjd, d.end_mjd, d.ra, d.dec, d.band, 5 + 20 * random() ^ 3, random(), 0, d.parameters, d.simulated
FROM (SELECT DISTINCT ON (task_id) * FROM detection WHERE injection_id IS NULL ORDER BY task_id, id) d,
  generate_series(1, CAST(:each AS int)) n"""
JUDGE = """
INSERT INTO classification (detection_id, source_id, label, "user", digest, source_name, analysis, kind)
SELECT d.id, d.source_id, (ARRAY['candidate', 'artefact'])[1 + d.id % 2], (ARRAY['ann', 'bob'])[1 + d.id % 2], '', '',
  d.analysis, d.kind
FROM detection d WHERE random() < :part"""


MOVERS = 10_000
# Copies of each moving source with its detections; the letter that tells a body from a mover stays the first.
SOURCES = """
INSERT INTO source (namespace, name, ra, dec, hpx, kind, parent_id, simulated)
SELECT s.namespace, s.name || '_' || n, s.ra, s.dec, s.hpx, s.kind, s.parent_id, s.simulated
FROM source s, generate_series(1, CAST(:each AS int)) n WHERE s.kind = 'moving'"""
EPOCHS = """
INSERT INTO detection (source_id, task_id, product_id, event, analysis, kind, start_mjd, peak_mjd, end_mjd, ra, dec,
  band, snr, score, quality, parameters, simulated)
SELECT c.id, d.task_id, d.product_id, 1000 * split_part(c.name, '_', 3)::int + d.event, d.analysis, d.kind, d.start_mjd,
  d.peak_mjd, d.end_mjd, d.ra, d.dec, d.band,
  (5 + 20 * ((hashtext(substr(c.name, 2)) & 2147483647) / 2147483648.0) ^ 3) * (0.9 + 0.2 * random()), d.score, 0,
  d.parameters, d.simulated
FROM source s JOIN source c ON c.namespace = s.namespace AND starts_with(c.name, s.name || '_')
JOIN detection d ON d.source_id = s.id WHERE s.kind = 'moving'"""
TAKEN = """
UPDATE properties SET props = props || jsonb_build_object('taken_up',
  (SELECT jsonb_agg(name ORDER BY name) FROM source WHERE kind = 'moving' AND name LIKE 'M%'))
WHERE props ? 'taken_up'"""


def main() -> None:
    if sys.argv[1:2] == ["movers"]:
        movers(int(sys.argv[2]) if len(sys.argv) > 2 else MOVERS)
        return
    number = int(sys.argv[1]) if len(sys.argv) > 1 else CANDIDATES
    os.environ.pop("VO_DATABASE_URL", None)  # only ever the throw-away server
    with tempfile.TemporaryDirectory(prefix="vo_bench_") as folder:
        file, data = Path(folder) / "vet.yaml", Path(folder) / "data"
        file.write_text(
            f"name: vet\ncatalog:\n  test: {STARS}\nobservatories:\n"
            "  demo: {n_epochs: 100, flare_fraction: 1.0, dip_fraction: 0.0}\n"
            "analyses:\n  transients: {snr_threshold: 5}\n"
        )
        with Project.open(file, data=data) as project:
            project.run()
            with project.session() as session, session.begin():
                tasks = session.execute(text("SELECT count(DISTINCT task_id) FROM detection")).scalar_one()
                session.execute(text(COPY), {"each": number // tasks})
                session.execute(text(JUDGE), {"part": JUDGED})
            with project.session() as session:
                session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
                session.execute(text("ANALYZE"))
            ask(project)
            look(file, data)


def movers(number: int) -> None:
    """Measure the queue of bodies that were put together from so many movers."""
    os.environ.pop("VO_DATABASE_URL", None)  # only ever the throw-away server
    with (
        tempfile.TemporaryDirectory(prefix="vo_bench_") as folder,
        Project.open("lsss_demo", data=Path(folder) / "data") as project,
    ):
        project.run()
        with project.session() as session, session.begin():
            have = session.execute(text("SELECT count(*) FROM source WHERE name LIKE 'M%'")).scalar_one()
            for query in (SOURCES, EPOCHS, TAKEN, JUDGE):
                session.execute(text(query), {"each": number // have, "part": JUDGED / 12})
            n = session.execute(text("SELECT analysis, count(*) FROM detection GROUP BY 1")).all()
            print(", ".join(f"{count} detections of {name}" for name, count in n))
        with project.session() as session:
            session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
            session.execute(text("ANALYZE"))
        ask(project)


def ask(project: Project) -> None:
    """Measure what questions take."""
    viewer = Viewer("ann")
    first = ahead(project, viewer, Filter(), None)
    questions = {
        "first page of the queue": lambda: page(project, viewer, Filter()),
        "a page in the middle": lambda: page(project, viewer, Filter(judged="all", after=f"8.0,{first[0]}")),
        "a page by name": lambda: page(project, viewer, Filter(order="source", kind="dip")),
        "counts beside filters": lambda: tally(project, viewer, Filter(snr=7.0)),
        "the next 50 candidates": lambda: ahead(project, viewer, Filter(), first[-1]),
    }
    for name, question in questions.items():
        seconds = [timed(question) for _ in range(5)]
        print(f"{name:<32} {statistics.median(seconds):7.3f} s, at most {max(seconds):.3f}")


def look(file: Path, data: Path) -> None:
    """Measure what a person waits for."""
    program = os.environ.get("VO_CHROMIUM") or shutil.which("chromium")
    if program is None:
        print("no chromium: nothing was measured in a browser")
        return
    from playwright.sync_api import sync_playwright

    code = "import sys; from virtualobserver.cli import main; sys.exit(main())"
    words = [sys.executable, "-c", code, "vet", str(file), "--user", "ann", "--data", str(data)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server, sync_playwright() as play:
        address = (server.stdout or sys.stdin).readline().strip()
        flags = ["--no-sandbox"] if os.geteuid() == 0 else []
        chrome = play.chromium.launch(executable_path=program, args=[*flags, "--disable-gpu"])
        tab = chrome.new_page(viewport={"width": 1440, "height": 900})
        tab.goto(address)
        tab.wait_for_selector(".queue")
        begin = time.perf_counter()
        tab.reload()
        tab.wait_for_selector(".queue")
        print(f"{'queue in the browser':<32} {time.perf_counter() - begin:7.3f} s")
        tab.keyboard.press("Enter")
        tab.wait_for_selector(".scene:not(.unseen) .picture[data-drawn]")
        ready, hurried = [], []
        for n in range(2 * KEYS):
            prepared = n < KEYS
            if prepared:
                tab.wait_for_function(DRAWN)
                tab.wait_for_timeout(300)
            seconds = tab.evaluate(NEXT)
            (ready if prepared else hurried).append(seconds)
        print(
            f"{'next candidate after a key':<32} {statistics.median(ready):7.3f} s, at most {max(ready):.3f}"
        )
        print(
            f"{'the same, keys without a pause':<32} {statistics.median(hurried):7.3f} s, at most {max(hurried):.3f}"
        )
        print(f"{'memory of the server':<32} {psutil.Process(server.pid).memory_info().rss // 2**20:7d} MB")
        chrome.close()
        server.terminate()


def timed(question) -> float:
    begin = time.perf_counter()
    question()
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
