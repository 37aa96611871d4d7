"""The pipeline: each stage is a function from a configuration to an artifact."""
