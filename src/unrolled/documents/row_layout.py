"""What the kernels on rows and their callers share; nothing here loads Numba."""

from __future__ import annotations

# Columns of the array of rows.
START, STOP, CLOSE, STATUS, LINES = range(5)
FIELDS = 5

# STATUS: a document; a blank line; a row that is no JSON object with the text as a string; a row
# that has one of the new fields already.
OK, BLANK, BROKEN, EXISTS = range(4)

DEPTH = 900  # of nested arrays and objects: Python's parser gives up at about a thousand

NUMBER_BYTES = 32  # at most, with what separates it from the next one
