"""Side-by-side measurements against KenLM: `make bench`, or `python -m benchmarks.run --help`."""
