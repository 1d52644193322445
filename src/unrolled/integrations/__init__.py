"""Bindings to other libraries: KenLM's interface, scikit-learn, spaCy, ONNX."""
