"""The part of the documentation that is computed from the package instead of being written by hand."""
