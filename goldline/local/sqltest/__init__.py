"""SQL tests: analysis with ZetaSQL, and the contracts' unit tests on two engines."""
