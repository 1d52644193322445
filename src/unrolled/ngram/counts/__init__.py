"""N-gram counts: from text, in files, merged."""
