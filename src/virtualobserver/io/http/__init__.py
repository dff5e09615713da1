"""Asking archives: one client with deadlines, rates, downloads that go on, answers that are checked. Knows no survey."""
