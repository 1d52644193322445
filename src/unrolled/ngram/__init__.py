"""N-gram models: counting, estimation, the trie, queries, ARPA files, editing."""
