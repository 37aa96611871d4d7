"""Pre-train on a source task, such as next-frame prediction on waves, simulating the recording first where missing."""

from rwtl.apps.pretrain import main

if __name__ == "__main__":
    main()
