"""The one model file format, atomic writes, and telling kinds of files apart."""
