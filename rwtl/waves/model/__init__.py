"""The starburst amacrine cell (SAC) and its lattice, as one text of equations for every engine."""
