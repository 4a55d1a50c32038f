"""The TensorFlow Serving client library, and an embedded server of the same protocol."""
