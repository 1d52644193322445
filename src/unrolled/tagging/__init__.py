"""Taggers: a label for each word, from column files, by deep bidirectional recurrent nets."""
