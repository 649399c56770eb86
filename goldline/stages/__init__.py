"""The work of the library's components."""
