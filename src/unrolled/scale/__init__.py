"""Past memory: the estimator of n-gram models as steps over columnar batches.

Each step takes NumPy columns (what Arrow batches hold) of a range of first words and gives columns
back, so that the same functions run over parts of one text in files (`estimator`, `passes`) or on
the machines of a cluster. A range of first words is a contiguous part of the model in each order.

1. `windows.gather_windows`: ids of the text -> for each place its window: the word before and the
   next ``order`` words, the windows of one first word together. On a cluster this is the first
   exchange: windows go to the range of their first word (`windows.partitions` makes even ranges).
2. `windows.count_windows`: windows of a range -> `windows.NgramColumns` of all its n-grams, in the
   order of the model: last words, occurrences, adjusted counts (the distinct words before), numbers
   of children, and the words before themselves. Nothing of another range is needed.
3. `estimation.rules.Rules`: sums of the ranges' counts of counts (`NgramColumns.totals`) -> the
   discounts of an order; and the unigrams, from the number of bigrams that end in each word.
4. For each order from 2: `estimation.interpolated` (or `discounted` and `renewed` for Katz):
   counts of a range, and for each n-gram the probability of its suffix -> probabilities and
   back-off weights. The suffix's probability lies in another range and comes by the second
   exchange, an order at a time:
   `exchange.Sender.rows`: probabilities of an order and the words before -> rows (word before,
   probability) for the range of that word;
   `exchange.arranged`: the rows that a range received, in the order of the senders' first words ->
   one number for each n-gram of the range, in the order of the model.
5. `model_arrays.trie_arrays`: the columns of all ranges, end to end -> the arrays of a model.

Count files have no windows: `count_files.read_counts_within` makes the same columns of their lines.

The numbers are those of estimation in memory to the last bit: counts are whole numbers, and every
sum of real numbers runs over the n-grams of one context, which lie in one range in the same order.
"""
