"""COPY in, upsert and frames out, value by value."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from support.db import start_test_server

from virtualobserver.db.bulk import copy_rows, read_frame, upsert_rows
from virtualobserver.db.engine import Database
from virtualobserver.errors import DataError

META = sa.MetaData()
THING = sa.Table(
    "thing",
    META,
    sa.Column("id", sa.BigInteger, primary_key=True),
    sa.Column("name", sa.Text),
    sa.Column("x", sa.Double),
    sa.Column("small", sa.Integer),
    sa.Column("good", sa.Boolean),
    sa.Column("extra", JSONB),
    sa.Column("blob", sa.LargeBinary),
    sa.Column("at", sa.DateTime(timezone=True)),
    sa.Column("list", sa.ARRAY(sa.Double)),
)
KEYED = sa.Table(
    "keyed",
    META,
    sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("source", sa.BigInteger),
    sa.Column("value", sa.Double),
    sa.UniqueConstraint("digest", "source", postgresql_nulls_not_distinct=True),
)


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    with start_test_server(tmp_path_factory.mktemp("bulk")) as server:
        base = Database(server.url())
        META.create_all(base.engine)
        yield base
        base.close()


@pytest.fixture
def session(database):
    with database.session() as session:
        yield session
        session.rollback()


def column(session, name):
    return list(session.scalars(sa.select(THING.c[name]).order_by(THING.c.id)))


NASTY = [
    "",
    None,
    'a "quoted", word',
    "two\nlines\r\n\\.",
    "\\.",
    "Ω 🙂",
    "x'; DROP TABLE thing; --",
    "NULL",
    "\\N",
]


def test_text_comes_back_as_it_went_in(session):
    assert copy_rows(session, THING, {"id": list(range(len(NASTY))), "name": NASTY}) == len(NASTY)
    assert column(session, "name") == NASTY


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("x", [0.1, 1 / 3, None, math.inf, 5e-324]),
        ("small", [1, None, -(2**31), 2**31 - 1, 0]),
        ("good", [True, None, False, True, True]),
        ("extra", [{"a": [1, "q\"u'o,te"]}, None, [1, 2], "text", {"Ω": "\n"}]),
        ("blob", [b"\x00\xff", None, b"", b"\\x", b'",']),
        ("at", [dt.datetime(2012, 6, 4, 2, 29, 1, 123456, tzinfo=dt.UTC), None] * 2 + [None]),
        ("list", [[1.5, None], None, [], [0.1], [1e300]]),
    ],
)
def test_every_type_comes_back_as_it_went_in(session, name, cells):
    copy_rows(session, THING, {"id": range(5), name: cells})
    assert column(session, name) == cells


def test_fault_17_long_ids_stay_exact_from_lists_arrays_and_arrow(session):
    big = 9_223_372_036_854_775_807
    for start, values in enumerate(([big], np.array([big - 1]), pa.array([big - 2]))):
        copy_rows(session, THING, {"id": values, "small": [start]})
    assert column(session, "id") == [big - 2, big - 1, big]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"id": [2**63]}, "thing.id"),
        ({"id": np.array([2**63], dtype=np.uint64)}, "thing.id"),
        ({"id": [1.5]}, "float"),
        ({"id": np.array([1.0])}, "float"),
        ({"id": ["0xf"]}, "whole numbers"),
        ({"id": [1], "small": [2**31]}, "thing.small"),
        ({"id": [1], "name": ["a\0b"]}, "NUL"),
        ({"id": [1], "name": ["\ud800"]}, "thing.name"),
        ({"id": [1], "extra": [{"a": "\0"}]}, "NUL"),
        ({"id": [1], "at": [dt.datetime(2020, 1, 1)]}, "time zone"),  # noqa: DTZ001
        ({"id": [1], "good": ["yes"]}, "thing.good"),
        ({"id": [1, 2], "name": ["a"]}, "unequal lengths"),
        ({"id": [1], "nmae": ["a"]}, "no column 'nmae'"),
    ],
)
def test_fault_17_impossible_values_are_refused_by_name(session, columns, words):
    with pytest.raises(DataError, match=words):
        copy_rows(session, THING, columns)
    assert column(session, "id") == []


def test_fault_17_nan_in_json_becomes_null_in_bulk_and_in_orm(session):
    copy_rows(
        session, THING, {"id": [1], "extra": [{"a": math.nan, "b": np.float32(1.5), "c": np.arange(2)}]}
    )
    session.execute(sa.insert(THING), [{"id": 2, "extra": {"a": math.inf, "b": np.int64(3)}}])
    assert column(session, "extra") == [{"a": None, "b": 1.5, "c": [0, 1]}, {"a": None, "b": 3}]


def test_fault_17_numpy_scalars_bind(session):
    row = {"id": np.int64(2**62 + 1), "x": np.float64(1.5), "small": np.int32(7), "good": np.True_}
    session.execute(sa.insert(THING), row)
    got = session.execute(sa.select(THING.c.id, THING.c.x, THING.c.small, THING.c.good)).one()
    assert tuple(got) == (2**62 + 1, 1.5, 7, True)


def test_fault_03_a_refused_row_leaves_none_of_its_chunk(database):
    ids = np.arange(150_001)
    ids[-1] = 0
    with database.session() as session, pytest.raises(DataError, match="thing"):
        copy_rows(session, THING, {"id": ids})
    with database.session() as session:
        assert column(session, "id") == []


def test_copy_belongs_to_the_transaction_of_the_session(database):
    with database.session() as session:
        copy_rows(session, THING, {"id": [1]})
        session.rollback()
        assert column(session, "id") == []


def test_numpy_times_are_utc_and_nat_is_null(session):
    copy_rows(session, THING, {"id": [1, 2], "at": np.array(["2020-01-01T12:00", "NaT"], dtype="M8[ns]")})
    assert column(session, "at") == [dt.datetime(2020, 1, 1, 12, tzinfo=dt.UTC), None]


def test_upsert_returns_a_row_for_every_input_in_order_also_untouched(session):
    first = {"digest": ["a", "b"], "source": [1, None], "value": [1.0, 2.0]}
    made = upsert_rows(session, KEYED, first, key=("digest", "source"), returning=("digest", "id"))
    again = {"digest": ["c", "b", "a", "b"], "source": [1, None, 1, None], "value": [9.0, 9.0, 9.0, 9.0]}
    rows = upsert_rows(session, KEYED, again, key=("digest", "source"), returning=("digest", "id", "value"))
    ids = dict(made)
    assert [r[0] for r in rows] == ["c", "b", "a", "b"]
    assert [r[1] for r in rows[1:]] == [ids["b"], ids["a"], ids["b"]]
    assert [r[2] for r in rows] == [9.0, 2.0, 1.0, 2.0]


def test_upsert_overwrites_only_what_is_asked_and_the_last_of_equal_keys_counts(session):
    upsert_rows(session, KEYED, {"digest": ["a"], "source": [1], "value": [1.0]}, key=("digest", "source"))
    columns = {"digest": ["a", "a", "b"], "source": [1, 1, 1], "value": [2.0, 3.0, 4.0]}
    assert upsert_rows(session, KEYED, columns, key=("digest", "source"), update=("value",)) == 2
    assert list(session.execute(sa.select(KEYED.c.digest, KEYED.c.value).order_by("digest"))) == [
        ("a", 3),
        ("b", 4),
    ]


def test_upsert_of_nothing_is_nothing(session):
    empty = {"digest": [], "source": [], "value": []}
    assert upsert_rows(session, KEYED, empty, key=("digest", "source")) == 0
    assert upsert_rows(session, KEYED, empty, key=("digest", "source"), returning=("id",)) == []


def test_frame_has_the_types_of_the_server(session):
    at = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    ids = [2**62 + 1, 2**62 + 3]
    columns = {
        "id": ids,
        "small": [5, None],
        "x": [None, 1.5],
        "good": [True, None],
        "extra": [{"a": 1}, None],
    }
    copy_rows(session, THING, columns | {"at": [at, None], "name": ["n", None]})
    frame = read_frame(
        session, "SELECT *, 1.5::numeric AS n FROM thing WHERE id > :low ORDER BY id", {"low": 5}
    )
    assert frame["id"].tolist() == ids
    assert frame["id"].dtype == np.int64
    assert frame["small"].dtype == pd.Int64Dtype()
    assert frame["x"].dtype == np.float64
    assert np.isnan(frame["x"][0])
    assert frame["good"].dtype == pd.BooleanDtype()
    assert frame["extra"][0] == {"a": 1}
    assert frame["at"][0] == at
    assert frame["n"].dtype == np.float64


def test_frame_of_no_rows_keeps_columns_and_types(session):
    frame = read_frame(session, "SELECT id, x FROM thing")
    assert list(frame.columns) == ["id", "x"]
    assert frame["id"].dtype == np.int64


def test_fault_20_a_parameter_is_never_sql(session):
    evil = "x'; DROP TABLE thing; --"
    assert read_frame(session, "SELECT id FROM thing WHERE name = :n", {"n": evil}).empty
    assert column(session, "id") == []
