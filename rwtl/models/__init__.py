"""RAFT and the next-frame-prediction model, composed from the same parts."""
