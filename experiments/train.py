"""Train RAFT for optical flow, from scratch or with a pre-trained encoder, building what is missing upstream."""

from rwtl.apps.train import main

if __name__ == "__main__":
    main()
