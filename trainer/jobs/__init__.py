"""The jobs of the command line: each module has `run(config, workdir)`."""
