"""Words in the exported graph: from a text's bytes to its tokens and its embedding."""
