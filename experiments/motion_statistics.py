"""Displacements and directions of recordings at several dt and zooms, beside those of data sets of optical flow."""

from rwtl.apps.motion_statistics import main

if __name__ == "__main__":
    main()
