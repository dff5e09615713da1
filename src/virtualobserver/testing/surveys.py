"""What every survey must keep."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pytest

from virtualobserver import plugins
from virtualobserver.data.contract import fingerprint
from virtualobserver.data.handles import Handle, MemoryHandle, as_handle
from virtualobserver.data.product import Aux, Raw, RawRef, Target
from virtualobserver.io.store import Store
from virtualobserver.testing.archives import FolderArchive
from virtualobserver.testing.common import Suite, assert_survive, columns_without_entry

if TYPE_CHECKING:
    from virtualobserver.observatory import VirtualObservatory

__all__ = ["SurveySuite"]


class SurveySuite(Suite):
    """The checks of a survey: derive a class ``Test…`` from it and name the `plugin`."""

    kind: ClassVar[plugins.Kind] = "observatories"

    @pytest.fixture
    def survey(self, plugin_class: type[VirtualObservatory]) -> VirtualObservatory:
        """Return the survey with the options of its contract."""
        return plugin_class(**plugin_class.contract.options)

    @pytest.fixture
    def database_url(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
        """Return a database that is made for one check and thrown away; override it to use one of yours."""
        from virtualobserver.db.server import EmbeddedServer

        with EmbeddedServer(tmp_path_factory.mktemp("server"), durable=False) as server:
            yield server.url()

    def test_reduces_nothing_to_nothing(self, survey: VirtualObservatory) -> None:
        """No raw data give no products, not an error."""
        assert list(survey.reduce([], Aux(survey.contract.targets[0]), survey.settings)) == []

    def test_simulates_the_same_bytes_from_the_same_seed(self, survey: VirtualObservatory) -> None:
        """Simulated raw data are a function of the seed."""
        first, second, other = (
            [RawRef.of(raw).read() for raw in simulated(survey, seed)] for seed in (1, 1, 2)
        )
        assert first
        assert first == second
        assert first != other

    def test_leaves_its_raw_data_and_reduces_them_the_same_way_twice(
        self, survey: VirtualObservatory
    ) -> None:
        """`reduce` is pure: the same raw data give the same products, and stay as they are."""
        settings = survey.settings.model_dump_json()
        produced = 0
        for raws, aux in units(survey):
            facts = [(raw.read(), repr(raw.header), repr(raw.obscore)) for raw in raws]
            masters = prints_of_masters(aux)
            first, second = (list(survey.reduce(raws, aux, survey.settings)) for _ in range(2))
            produced += len(first)
            assert [(raw.read(), repr(raw.header), repr(raw.obscore)) for raw in raws] == facts
            assert prints_of_masters(aux) == masters
            assert {(product.container_kind, product.role) for product in first} <= set(survey.produces)
            keys = [(product.role, product.series) for product in first]
            assert len(set(keys)) == len(keys), "series tells the products of one unit and role apart"
            assert keys == [(product.role, product.series) for product in second]
            assert [fingerprint(a.data) for a in first] == [fingerprint(b.data) for b in second]
            for product in first:
                json.dumps(dict(product.statistics), allow_nan=False)
        assert produced
        assert survey.settings.model_dump_json() == settings

    def test_products_survive_the_store(self, survey: VirtualObservatory, tmp_path: Path) -> None:
        """What it makes reads back as it was written, whole and in part."""
        written = 0
        for number, (raws, aux) in enumerate(units(survey)):
            products = list(survey.reduce(raws, aux, survey.settings))
            assert_survive(Store(tmp_path / str(number)), products)
            written += len(products)
        assert written

    def test_makes_all_it_says_it_produces(self, survey: VirtualObservatory) -> None:
        """`produces` says what there is to search, no less and no more."""
        products = [p for raws, aux in units(survey) for p in survey.reduce(raws, aux, survey.settings)]
        assert {(product.container_kind, product.role) for product in products} == set(survey.produces)

    def test_every_column_has_an_entry(self, survey: VirtualObservatory) -> None:
        """Columns are called what they are called everywhere; others are named in ``contract.own_columns``."""
        group, aux = units(survey)[0]
        products = survey.reduce(group, aux, survey.settings)
        assert columns_without_entry(products, survey.contract.own_columns) == set()

    def test_sees_new_changed_and_vanished_files_and_other_folders(
        self, survey: VirtualObservatory, entry: str, tmp_path: Path, database_url: str
    ) -> None:
        """A folder archive is read whole, and a run says what is new, changed or gone since."""
        if survey.simulated:
            pytest.skip(f"{survey.name} makes its data up: it has no archive")
        folder, other = tmp_path / "archive", tmp_path / "other"
        archive = FolderArchive(survey, entry, tmp_path / "data", database_url)
        paths = archive.write(folder)
        archive.write(other)
        archive.sees_changes(folder, paths, tmp_path / "later")
        archive.tells_folders_apart(folder, other)


def simulated(survey: VirtualObservatory, seed: int) -> list[Raw]:
    """Return the simulated raw data of all targets of the contract."""
    raws = [raw for _, raw in survey.simulate_raw(survey.contract.targets, np.random.default_rng(seed))]
    assert all(isinstance(raw, Raw) for raw in raws)
    return raws


def units(survey: VirtualObservatory, seed: int = 1) -> list[tuple[list[RawRef], Aux]]:
    """Return the simulated raw data of each unit of each target, with what `reduce` needs besides."""
    found = []
    for target in survey.contract.targets:
        raws = [RawRef.of(raw) for _, raw in survey.simulate_raw([target], np.random.default_rng(seed))]
        groups: dict[str, list[RawRef]] = {}
        for raw in raws:
            groups.setdefault(survey.unit(raw), []).append(raw)
        services = survey.contract.services(survey, raws) if survey.contract.services else {}
        masters = masters_of(survey, groups)
        for unit, group in groups.items():
            if unit.partition("/")[0] not in survey.master_kinds:
                found.append(
                    (group, Aux(target, masters=survey.choose(masters, group[0]), services=services))
                )
    return found


def masters_of(survey: VirtualObservatory, groups: dict[str, list[RawRef]]) -> list[Handle]:
    """Make the masters of a survey as a run does: kind by kind, each from those before."""
    made: list[Handle] = []
    for kind in survey.master_kinds:
        before = tuple(made)
        for unit, group in groups.items():
            if unit.partition("/")[0] == kind:
                aux = Aux(Target("camera", kind="instrument"), masters=survey.choose(before, group[0]))
                for product in survey.calibrate(group, aux, survey.settings):
                    handle = as_handle(product)
                    made.append(MemoryHandle(handle.load(), replace(handle.info, unit=unit)))
    return made


def prints_of_masters(aux: Aux) -> dict[str, str]:
    """Return the fingerprints of the masters that `reduce` gets."""
    loaded = {key: handle.load() for key, handle in aux.masters.items()}
    return {key: fingerprint(data) for key, data in loaded.items()}
