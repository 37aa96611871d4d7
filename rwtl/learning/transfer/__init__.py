"""The transfer of trained parts into another model, and what stays frozen."""
