"""Say what is in the outputs, what an experiment would reuse and make, and remove what failed, when asked."""

from rwtl.apps.status import main

if __name__ == "__main__":
    main()
