"""Print, for every preset of the group `transfer`, what it loads and freezes in every variant of RAFT."""

from rwtl.apps.transfers import main

if __name__ == "__main__":
    main()
