"""Models made from models: pruned, filtered, mixed, quantized."""
