"""N-gram models: counting, estimation, the trie, queries, ARPA files, editing.

Folders and files, lowest first; each imports only from itself and from those before it:

``trie``        the packed trie, plain tables of n-grams, unions of several
``query``       kernels that score text with a packed trie
``model``       `NgramModel`
``counts``      n-gram counts of a text, and count files
``estimation``  smoothing: from counts to a table of probabilities
``editing``     pruning, vocabulary filters, mixtures, quantization
``arpa``        ARPA files
``training``    `train_ngram`, `train_on_counts`
"""
