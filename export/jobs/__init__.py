"""The jobs of `python -m export`, each imported when it is asked for."""
