"""Simulate a recording of retinal waves and draw it."""

from rwtl.apps.simulate import main

if __name__ == "__main__":
    main()
