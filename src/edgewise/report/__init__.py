"""One page that says what ran, how good it is, and whether a difference is real."""
