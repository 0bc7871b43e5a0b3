"""A model as one ONNX graph that gives probability and map; see docs/export.md."""
