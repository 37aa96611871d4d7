"""The tasks: each a LightningModule with its recipe."""
