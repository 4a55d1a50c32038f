"""Learns picture embeddings from a catalogue: prepare, train, evaluate, plot."""
