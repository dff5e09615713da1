"""The contract suite on source lists: linking, and the chain of ssos."""

import pytest

from virtualobserver.analyses.moving_objects import MovingObjects
from virtualobserver.analyses.moving_objects.listtrial import LINK_CONTRACT, SSOS_CONTRACT
from virtualobserver.testing import AnalysisSuite


def of(contract, **options):
    """Return the analysis with another contract than that of images."""
    made = MovingObjects(**options)
    made.contract = contract
    return made


class TestLinking(AnalysisSuite):
    plugin = "moving_objects"
    declared = LINK_CONTRACT

    @pytest.fixture
    def analysis(self):
        return of(self.declared, **self.declared.options)

    @pytest.fixture
    def strong(self):
        return of(self.declared, **{**self.declared.options, **self.declared.strong})

    def test_products_survive_the_store(self, strong, tmp_path):
        strong.produces = (("lightcurve", "mover"), ("table", "tracks"))  # no stamp without images
        super().test_products_survive_the_store(strong, tmp_path)


class TestChainOfSsos(TestLinking):
    declared = SSOS_CONTRACT
