"""Write the flow of a benchmark's test split in the files that its server accepts: MPI-Sintel or KITTI."""

from rwtl.apps.submit import main

if __name__ == "__main__":
    main()
