"""Engines: where the parts of a study are worked on, one engine a file."""
