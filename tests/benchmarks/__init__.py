"""Speed beside xenalyze. Nothing asserts a time: the default suite tests only the files that the benchmarks read."""
