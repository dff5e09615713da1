"""Verify, sweep, prune and delete: files and rows stay together, and nobody loses what another uses."""

from __future__ import annotations

import os
import time
from hashlib import sha256

import pytest
import sqlalchemy as sa
from support.stored import lightcurve

from virtualobserver.errors import ConfigError, ProductDropped, RunError
from virtualobserver.models import (
    Classification,
    Configuration,
    Detection,
    File,
    Membership,
    Product,
    Project,
    RawData,
    Source,
    SourceRaw,
    Task,
    TaskInput,
)
from virtualobserver.models.base import Base
from virtualobserver.models.product import Lightcurve
from virtualobserver.run.upkeep.prune import HANGS_ON_TASKS, delete, prune
from virtualobserver.run.upkeep.sweep import sweep
from virtualobserver.run.upkeep.verify import verify


class World:
    """Rows and files as a run leaves them: fetch, reduce and analyse tasks of two stars in shared files."""

    def __init__(self, workspace):
        self.workspace, self.store = workspace, workspace.store

    def add(self, row):
        with self.workspace.database.session() as session, session.begin():
            session.add(row)
            session.flush()
            return row.id

    def project(self, name, sources, digest="d", **options):
        project = self.add(Project(name=name))
        for step in ("fetch:demo", "reduce:demo", "analyse:find"):
            key = digest if step != "fetch:demo" else "raw"
            self.add(Configuration(project_id=project, step=step, digest=key, settings={}, **options))
        for number, source in enumerate(sources):
            with self.workspace.database.session() as session, session.begin():
                session.add(Membership(project_id=project, source_id=source, number=number, row={}))
        return project

    def file(self, record, *, external=False):
        names = ("path", "sha256", "bytes", "format")
        return self.add(
            File(**{name: getattr(record, name) for name in names}, external=external, mtime=record.mtime)
        )

    def sources(self, *names):
        return [self.add(Source(name=name, namespace="test")) for name in names]

    def fetched(self, sources, record=None):
        """One file of raw data for all sources (or the external one given), and their fetch tasks."""
        written = (
            None
            if record
            else self.store.write_blocks("raw/demo/0", [(f"s{s}", b"raw%d" % s) for s in sources])
        )
        file = self.file(record or written.file, external=record is not None)
        for n, source in enumerate(sources):
            task = self.add(Task(source_id=source, step="fetch:demo", digest="raw", status="done"))
            raw = RawData(
                observatory="demo",
                origin="folder",
                archive_id=f"s{source}",
                sha256=sha256(b"raw%d" % source).hexdigest(),
                block="" if record else written.blocks[n].key,
                file_id=file,
                format="csv",
                simulated=False,
                header={},
            )
            raw_id = self.add(raw)
            with self.workspace.database.session() as session, session.begin():
                session.add(SourceRaw(source_id=source, raw_data_id=raw_id, task_id=task))
        return record.path if record else written.file.path

    def reduced(self, sources, digest="d", roles=("reduced",)):
        """One file of products for all sources, their tasks, analyses and one detection each."""
        keys = [(source, role) for source in sources for role in roles]
        seed = len(digest) * 100
        blocks = [(f"{s}/{role}", lightcurve(seed + s * 10 + n)) for n, (s, role) in enumerate(keys)]
        written = self.store.write_blocks(f"products/{digest}", blocks)
        file = self.file(written.file)
        tasks = {
            s: self.add(Task(source_id=s, step="reduce:demo", digest=digest, status="done")) for s in sources
        }
        raws = dict(self.rows("SELECT source_id, raw_data_id FROM source_raw"))
        for (source, role), ref in zip(keys, written.blocks, strict=True):
            product = self.add(
                Lightcurve(
                    source_id=source,
                    task_id=tasks[source],
                    role=role,
                    file_id=file,
                    block=ref.key,
                    checksum=ref.checksum,
                )
            )
            if role != "reduced":
                continue
            if source in raws:
                self.add(TaskInput(task_id=tasks[source], raw_data_id=raws[source]))
            find = self.add(Task(source_id=source, step="analyse:find", digest=digest, status="done"))
            self.add(TaskInput(task_id=find, product_id=product))
            mjds = {"start_mjd": 1.0, "peak_mjd": 2.0, "end_mjd": 3.0}
            found = Detection(
                source_id=source,
                task_id=find,
                product_id=product,
                event=0,
                analysis="find",
                kind="flare",
                snr=9.0,
                **mjds,
            )
            detection = self.add(found)
            self.add(
                Classification(
                    detection_id=detection, source_id=source, label="flare", source_name="s", analysis="find"
                )
            )
        return written.file.path

    def rows(self, statement):
        with self.workspace.database.session() as session:
            return [tuple(row) for row in session.execute(sa.text(statement))]

    def count(self, table):
        return self.rows(f"SELECT count(*) FROM {table}")[0][0]

    def statuses(self, step):
        return [
            s
            for (s,) in self.rows(f"SELECT status FROM task WHERE step LIKE '{step}%' ORDER BY source_id, id")
        ]

    def on_disk(self):
        return sorted(self.store.files())


@pytest.fixture
def world(workspace):
    return World(workspace)


def age(world, path, seconds=7200.0):
    os.utime(world.store.root / path, (time.time() - seconds,) * 2)


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def full(world):
    sources = world.sources("a", "b")
    world.project("p", sources)
    return sources, world.fetched(sources), world.reduced(sources)


def test_verify_finds_nothing_wrong_after_a_good_run(world):
    full(world)
    report = verify(world.workspace, repair=True, grace=0)
    assert report.ok
    assert (report.checked, report.pending, report.stale) == (2, 0, 0)
    assert str(report).startswith("2 files checked")
    assert world.statuses("") == ["done"] * 6


def test_fault_13_a_flipped_bit_of_raw_data_is_set_aside_and_fetched_again(world):
    _, raw, product = full(world)
    flip(world.store.root / raw)
    found = verify(world.workspace)
    assert [(p.kind, p.path) for p in found.problems] == [("damaged", raw)]
    assert "vo verify --repair" in str(found)
    assert world.statuses("fetch") == ["done"] * 2  # looking changes nothing
    report = verify(world.workspace, repair=True)
    assert (report.pending, report.stale) == (2, 4)
    assert world.statuses("fetch") == ["pending"] * 2
    assert world.statuses("reduce") == world.statuses("analyse") == ["stale"] * 2
    assert world.on_disk() == [product]
    assert len(list((world.store.root / "quarantine").iterdir())) == 1
    assert world.count("detection") == 2
    assert verify(world.workspace).problems[0].kind == "missing"


@pytest.mark.parametrize("how", ["flipped", "deleted", "replaced"])
def test_fault_13_a_lost_product_is_made_again_and_its_detections_are_stale(world, how):
    _, raw, product = full(world)
    path = world.store.root / product
    if how == "flipped":
        flip(path)
    elif how == "deleted":
        path.unlink()
    else:
        path.write_bytes((world.store.root / raw).read_bytes())
    report = verify(world.workspace, repair=True)
    assert [p.kind for p in report.problems] == ["missing" if how == "deleted" else "damaged"]
    assert world.statuses("fetch") == ["done"] * 2
    assert world.statuses("reduce") == ["pending"] * 2
    assert world.statuses("analyse") == ["stale"] * 2
    assert world.on_disk() == [raw]
    assert world.rows(f"SELECT damaged FROM file WHERE path = '{product}'") == [(True,)]
    world.store.write_blocks(
        "products/d", [(f"{s}/reduced", lightcurve(100 + s * 10 + n)) for n, s in enumerate((1, 2))]
    )
    assert verify(world.workspace, repair=True).ok  # the same content is back
    assert world.rows("SELECT count(*) FROM file WHERE damaged") == [(0,)]


def test_fault_13_a_changed_file_of_the_users_archive_is_told_and_left_alone(world, tmp_path):
    mine = tmp_path / "mine.csv"
    mine.write_bytes(b"before")
    sources = world.sources("a")
    world.fetched(sources, world.store.register(mine))
    mine.write_bytes(b"after")
    report = verify(world.workspace, repair=True)
    assert [(p.kind, p.path) for p in report.problems] == [("changed external", str(mine))]
    assert world.statuses("fetch") == ["pending"]
    assert mine.read_bytes() == b"after"


def test_fault_02_an_orphan_takes_the_place_of_the_file_that_is_missed(world):
    _, _, product = full(world)
    moved = "products/elsewhere.h5"
    (world.store.root / product).rename(world.store.root / moved)
    report = verify(world.workspace, repair=True, grace=0)
    assert {(p.kind, p.path) for p in report.problems} == {("missing", product), ("orphan", moved)}
    assert "adopted" in str(report)
    assert world.statuses("") == ["done"] * 6
    assert verify(world.workspace, grace=0).ok
    with world.workspace.database.session() as session:
        assert len(session.scalars(sa.select(Product)).first().data) == len(lightcurve(1))


def test_fault_02_an_orphan_nobody_misses_is_removed_when_it_is_old_enough(world):
    _, raw, product = full(world)
    orphan = world.store.write_blocks("products/d", [("x", lightcurve(999))]).file.path
    assert verify(world.workspace, repair=True).ok  # a worker may be about to commit it
    assert sweep(world.workspace) == []
    age(world, orphan)
    assert [(p.kind, p.path) for p in verify(world.workspace).problems] == [("orphan", orphan)]
    assert "removed" in str(verify(world.workspace, repair=True))
    assert world.on_disk() == sorted([raw, product])


def test_a_dropped_file_that_is_put_back_gets_its_row_again(world):
    _, _, product = full(world)
    content = (world.store.root / product).read_bytes()
    prune(world.workspace, role="reduced")
    (world.store.root / product).write_bytes(content)
    verify(world.workspace, repair=True, grace=0)
    assert world.rows("SELECT count(*) FROM file WHERE path IS NULL") == [(0,)]
    assert world.on_disk().count(product) == 1


def test_sweep_removes_old_temporary_and_unreferenced_files_and_nothing_of_the_user(world, tmp_path):
    _, raw, product = full(world)
    orphan = world.store.write_blocks("raw/demo/0", [("x", b"left")]).file.path
    unused = world.store.write_blocks("raw/demo/0", [("x", b"unused")]).file
    world.file(unused)
    for folder in (tmp_path / "archive", world.store.root / "raw" / "mine"):
        folder.mkdir()
        (folder / "a.csv").write_bytes(folder.name.encode())
        (folder / "b.csv").write_bytes(b"never registered")
        world.file(world.store.register(folder / "a.csv"), external=True)
    (world.store.root / "tmp" / "part").touch()
    histogram = world.store.root / "histograms" / "p" / "h.nc"
    histogram.parent.mkdir()
    histogram.touch()
    for path in (orphan, unused.path, raw, product, "tmp/part", "raw/mine/b.csv", "histograms/p/h.nc"):
        age(world, path)
    world.rows("SELECT 1")
    with world.workspace.database.session() as session, session.begin():
        session.execute(sa.text("UPDATE file SET created = now() - interval '2 hours'"))
    assert sorted(sweep(world.workspace)) == sorted(["tmp/part", orphan, unused.path])
    assert world.on_disk() == sorted([raw, product, "raw/mine/a.csv", "raw/mine/b.csv", "histograms/p/h.nc"])
    assert sorted(p.name for p in (tmp_path / "archive").iterdir()) == ["a.csv", "b.csv"]


def test_prune_keeps_current_products_and_files_that_still_hold_some(world):
    a, b = world.sources("a", "b")
    world.project("p", [a, b], digest="new")
    old_project = world.project("q", [b], digest="old")
    raw = world.fetched([a, b])
    shared = world.reduced([a, b], digest="old")  # current for b in q, for nobody for a
    new = world.reduced([a], digest="new")
    report = prune(world.workspace)
    assert (report.tasks, report.products, report.files) == (2, 1, ())
    assert world.on_disk() == sorted([raw, shared, new])
    with world.workspace.database.session() as session, session.begin():
        session.execute(
            sa.text("UPDATE configuration SET current = false WHERE project_id = :p"), {"p": old_project}
        )
    report = prune(world.workspace)
    assert report.files == (shared,)
    assert "1 file, " in str(report)
    assert world.on_disk() == sorted([raw, new])
    assert world.count("raw_data") == 2
    assert world.count("classification") == 3


def test_prune_of_one_project_leaves_what_another_made(world):
    a, b = world.sources("a", "b")
    world.project("p", [a], digest="old", current=False)
    world.project("q", [b], digest="old", current=False)
    first, second = world.reduced([a], digest="old"), world.reduced([b], digest="old")
    assert prune(world.workspace, project="p").files == (first,)
    assert world.on_disk() == [second]
    with pytest.raises(ConfigError, match=r"no project 'x'.*p, q"):
        prune(world.workspace, project="x")


def test_pruning_a_role_drops_files_and_keeps_rows_that_say_how_to_remake(world):
    a, b = world.sources("a", "b")
    world.project("p", [a, b])
    mixed = world.reduced([a], roles=("reduced", "processed"))
    whole = world.reduced([b])
    report = prune(world.workspace, role="reduced")
    assert (report.tasks, report.products, report.files) == (2, 2, (whole,))
    assert world.on_disk() == [mixed]
    assert world.count("product") == 3
    with world.workspace.database.session() as session:
        for row in session.scalars(sa.select(Product).where(Product.role == "reduced")):
            with pytest.raises(ProductDropped, match="vo run"):
                _ = row.data
        kept = session.scalars(sa.select(Product).where(Product.role == "processed")).one()
        assert len(kept.data) > 0
    assert verify(world.workspace, grace=0).ok


def test_delete_removes_a_project_and_leaves_the_other_whole(world, tmp_path):
    a, b, c = world.sources("a", "b", "c")
    world.project("p", [a, b])
    other = world.project("q", [b, c])
    mine = tmp_path / "mine.csv"
    mine.write_bytes(b"mine")
    raw = world.fetched([b, c])
    world.fetched([a], world.store.register(mine))
    both, alone = world.reduced([a, b]), world.reduced([a], digest="dd")
    world.reduced([c])
    before = world.rows(f"""SELECT * FROM membership WHERE project_id = {other}
        UNION ALL SELECT * FROM membership WHERE project_id = {other}""")
    report = delete(world.workspace, "p")
    assert (report.sources, report.raw_data, report.files) == (1, 1, (alone,))
    assert world.rows("SELECT name FROM project") == [("q",)]
    assert world.rows("SELECT name FROM source ORDER BY name") == [("b",), ("c",)]
    assert (
        world.rows(f"""SELECT * FROM membership WHERE project_id = {other}
        UNION ALL SELECT * FROM membership WHERE project_id = {other}""")
        == before
    )
    assert world.statuses("reduce") == ["done"] * 2
    assert {raw, both} <= set(world.on_disk())
    assert mine.read_bytes() == b"mine"
    assert world.rows("SELECT count(*), count(detection_id), count(source_id) FROM classification") == [
        (4, 2, 2)
    ]
    assert verify(world.workspace, grace=0).ok
    delete(world.workspace, "q")
    assert world.on_disk() == []
    assert [world.count(t) for t in ("file", "raw_data", "task", "source", "product", "classification")] == [
        0
    ] * 5 + [4]


def test_delete_refuses_an_unknown_project_and_one_at_work(world):
    full(world)
    with pytest.raises(ConfigError, match="no project 'x'"):
        delete(world.workspace, "x")
    with world.workspace.database.session() as session, session.begin():
        session.execute(
            sa.text(
                "UPDATE task SET status = 'running', lease = now() + interval '1 min' "
                "WHERE step = 'fetch:demo'"
            )
        )
    with pytest.raises(RunError, match="2 tasks"):
        delete(world.workspace, "p")
    assert world.count("source") == 2


def test_whatever_hangs_on_a_task_goes_before_it_and_every_cascade_has_an_index():
    tables = Base.metadata.tables.values()
    keys = [(table, key) for table in tables for key in table.foreign_keys if key.ondelete]
    assert {table.name for table, key in keys if key.target_fullname == "task.id"} == set(HANGS_ON_TASKS)
    for table, key in keys:
        unique = (
            c for c in table.constraints if isinstance(c, sa.PrimaryKeyConstraint | sa.UniqueConstraint)
        )
        first = {next(iter(index.columns)).name for index in (*table.indexes, *unique)}
        assert key.parent.name in first, (table.name, key.parent.name)
        # what hangs on a table goes before it
        order = [*HANGS_ON_TASKS, "task"]
        if table.name in order and (parent := key.column.table.name) in order:
            assert order.index(table.name) < order.index(parent)
