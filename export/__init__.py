"""Turns a trained run into SavedModels for TensorFlow Serving."""
