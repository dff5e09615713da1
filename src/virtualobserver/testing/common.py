"""What surveys and analyses have in common: settings, and products that survive the store."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pydantic
import pytest

from virtualobserver import plugins
from virtualobserver.columns import find
from virtualobserver.data.contract import fingerprint
from virtualobserver.data.handles import as_handle
from virtualobserver.data.image import Image
from virtualobserver.data.product import Product
from virtualobserver.io.store import Store

__all__ = ["Suite", "assert_survive", "columns_without_entry"]


class Suite:
    """What is asked of every plug-in; `SurveySuite` and `AnalysisSuite` ask more.

    Attributes
    ----------
    plugin : str
        The plug-in: a Python file, a relative path beside the file of the test, or the name of one that is installed.
    """

    plugin: ClassVar[str]
    kind: ClassVar[plugins.Kind]

    @pytest.fixture
    def entry(self) -> str:
        """Return what a configuration calls the plug-in: a name, or the path of a file."""
        name = getattr(self, "plugin", None)
        if name is None:
            pytest.fail(f'{type(self).__name__}: say which plug-in, `plugin = "mine.py"`', pytrace=False)
        if not name.endswith(".py"):
            return str(name)
        return str(Path(inspect.getfile(type(self))).resolve().parent / name)

    @pytest.fixture
    def plugin_class(self, entry: str) -> type[Any]:
        """Return the class of the plug-in."""
        return plugins.load(self.kind, entry)

    def test_unknown_settings_are_refused(self, plugin_class: type[Any]) -> None:
        """A misspelt setting must not pass for one that has been set."""
        with pytest.raises((pydantic.ValidationError, ValueError), match="no_such_setting"):
            plugin_class(no_such_setting=1)

    def test_settings_are_documented_frozen_and_survive_a_process(self, plugin_class: type[Any]) -> None:
        """Settings go to other processes and into the database, and come back as they were."""
        model = plugin_class.Settings
        assert all(field.description for field in model.model_fields.values())
        settings = model()
        with pytest.raises(pydantic.ValidationError, match="frozen"):
            setattr(settings, next(iter(model.model_fields)), 1)
        assert pickle.loads(pickle.dumps(settings)) == settings  # noqa: S301 - our own bytes
        assert model(**settings.model_dump(mode="json")) == settings


def assert_survive(store: Store, products: Iterable[Product]) -> None:
    """Write products as a run does, and read them back whole and in part."""
    for number, product in enumerate(products):
        data = product.data
        before = fingerprint(data)
        if isinstance(data, Image):
            written = store.write_image("products/d", data, f"p{number}")
        else:
            written = store.write_blocks("products/d", [(f"p{number}", data)])
        memory = as_handle(product)
        handle = store.open(written.blocks[0], memory.info)
        back = handle.load()
        assert type(back) is type(data)
        if isinstance(data, Image):  # a header grows by what FITS needs
            assert isinstance(back, Image)
            np.testing.assert_array_equal(back.data, data.data)
            for plane in ("variance", "mask"):
                np.testing.assert_array_equal(getattr(back, plane), getattr(data, plane))
            assert back.unit == data.unit
            box, same = (one.section(slice(1, 3), slice(0, 2)) for one in (handle, memory))
            for plane in ("data", "variance", "mask"):
                np.testing.assert_array_equal(getattr(box, plane), getattr(same, plane))
        else:
            assert fingerprint(back) == before
            part = handle.section(slice(0, 2), slice(0, 2))
            assert fingerprint(part) == fingerprint(memory.section(slice(0, 2), slice(0, 2)))
        assert fingerprint(data) == before


def columns_without_entry(products: Iterable[Product], own: Sequence[str] = ()) -> set[str]:
    """Return columns of tables, light curves and epochs of spectra that the table of columns does not know.

    Parameters
    ----------
    own
        Those that the plug-in says are its own.
    """
    missing: set[str] = set()
    for product in products:
        epochs = getattr(product.data, "epochs", None)
        table = product.data if epochs is None else epochs
        names = getattr(table, "columns", {})
        missing |= {name for name in names if find(name, "" if epochs is None else "epochs") is None}
    return missing - set(own)
