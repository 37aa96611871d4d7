"""Training: recipes, the loop, resumption, transfer, tasks and metrics."""
