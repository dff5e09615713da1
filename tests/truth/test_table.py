"""The table of what was measured says its numbers with their intervals."""

from truth.table import Row, markdown, merged


def test_a_row_carries_its_interval():
    row = Row("transients", "published", "flare of 30 d", "recall", 9, 10, ">= 0.85")
    last = markdown([row]).splitlines()[-1]
    # Wilson (1927), z = 1.96: (0.9 + z^2/20 -+ z sqrt(0.09/10 + z^2/400)) / (1 + z^2/10)
    assert last.endswith("| 9 of 10 | 0.900 | 0.596 to 0.982 | >= 0.85 |")


def test_rows_measured_anew_take_the_place_of_the_old_ones():
    def table(*facts):
        return markdown([Row(search, "one", case, what, 1, 2) for search, case, what in facts])

    old = table(("a", "x", "mean 1.1"), ("b", "x", "kept"), ("b", "y", "mean 0.9"), ("c", "y", "kept"))
    new = table(("a", "x", "mean 1.0"), ("b", "y", "mean 1.0"), ("b", "z", "added"))
    whole = table(
        ("a", "x", "mean 1.0"),
        ("b", "x", "kept"),
        ("b", "y", "mean 1.0"),
        ("b", "z", "added"),
        ("c", "y", "kept"),
    )
    assert merged(old, new) == whole
