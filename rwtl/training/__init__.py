"""LightningModules, transfer and metrics."""
