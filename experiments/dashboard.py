"""Build the W&B workspace of a sweep from what its runs have logged; without a login, as a JSON file."""

from rwtl.apps.dashboard import main

if __name__ == "__main__":
    main()
