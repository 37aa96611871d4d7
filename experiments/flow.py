"""Look at, convert and compare files of flow: .flo, .pfm, KITTI's .png and .npz."""

from rwtl.apps.flow import main

if __name__ == "__main__":
    main()
