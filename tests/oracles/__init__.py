"""Independent witnesses to compare the reader with: other programs' output, and plain restatements of the format."""
