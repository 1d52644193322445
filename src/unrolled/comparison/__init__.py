"""The comparison of models on one text behind ``unrolled compare``, and where results come from."""
