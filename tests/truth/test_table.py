"""The table of what was measured says its numbers with their intervals."""

from truth.table import Row, markdown


def test_a_row_carries_its_interval():
    row = Row("transients", "published", "flare of 30 d", "recall", 9, 10, ">= 0.85")
    last = markdown([row]).splitlines()[-1]
    # Wilson (1927), z = 1.96: (0.9 + z^2/20 -+ z sqrt(0.09/10 + z^2/400)) / (1 + z^2/10)
    assert last.endswith("| 9 of 10 | 0.900 | 0.596 to 0.982 | >= 0.85 |")
