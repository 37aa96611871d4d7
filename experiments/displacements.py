"""Histograms of the displacements of procedural scenes, beside those of a folder of real pairs."""

from rwtl.apps.displacements import main

if __name__ == "__main__":
    main()
