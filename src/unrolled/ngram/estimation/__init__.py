"""From counts to probabilities: smoothing, discounts, back-off weights."""
