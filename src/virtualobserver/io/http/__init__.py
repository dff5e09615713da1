"""Asking archives: deadlines, rates, downloads that go on, answers that are checked. Knows no survey."""
