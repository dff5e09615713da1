"""Containers as objects of other libraries, and back: nothing is lost without a word. Opens no file."""
