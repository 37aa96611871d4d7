"""Write a RAFT checkpoint of any kind as ONNX, or as a program of torch.export, for programs without rwtl."""

from rwtl.apps.export import main

if __name__ == "__main__":
    main()
