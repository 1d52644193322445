"""Tagged text: column files, tag schemes, folds, features and batches."""
