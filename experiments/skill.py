"""Pre-train for next-frame prediction over a grid of settings; a table and figures beside the baselines."""

from rwtl.apps.skill import main

if __name__ == "__main__":
    main()
