"""Evaluate a RAFT checkpoint of any kind, or the run that the configuration describes, on any data sets."""

from rwtl.apps.evaluate import main

if __name__ == "__main__":
    main()
