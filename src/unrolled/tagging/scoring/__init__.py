"""Scores of tags: spans as conlleval and seqeval count them, overlaps, significance."""
