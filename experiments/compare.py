"""Compare runs over seeds, made where they are missing or read from wherever they are, and report what they show."""

from rwtl.apps.compare import main

if __name__ == "__main__":
    main()
