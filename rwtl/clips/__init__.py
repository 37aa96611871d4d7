"""Clips (I1, I2, I3, …) of waves or of scenes, and the flow of wave fronts."""
