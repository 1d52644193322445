"""Sources to lines, lines to tokens, tokens to ids: readers, tokenisers, vocabulary, classes."""
