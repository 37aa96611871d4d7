"""Estimate the flow of your own images, film or recording, by a RAFT checkpoint of any kind."""

from rwtl.apps.predict import main

if __name__ == "__main__":
    main()
