"""Look at, convert and compare files of flow: .flo, .pfm, KITTI's .png and .npz."""

import argparse
import sys
from pathlib import Path

from rwtl.errors import InputError


def main() -> None:
    """Do what sys.argv says."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="show | convert | compare")
    show = commands.add_parser("show", help="size and lengths of a flow, and its picture in colour")
    show.add_argument("file", type=Path)
    show.add_argument("--picture", type=Path, help="file to write; by default beside it, FILE_colour.png")
    convert = commands.add_parser("convert", help="write a flow in another format, which the second name's end says")
    convert.add_argument("file", type=Path)
    convert.add_argument("to", type=Path)
    compare = commands.add_parser("compare", help="errors of a flow beside the true one, and a map of them")
    compare.add_argument("file", type=Path)
    compare.add_argument("truth", type=Path)
    compare.add_argument("--picture", type=Path, help="file to write; by default beside it, FILE_errors.png")
    given = parser.parse_args()
    try:
        _run(given)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        print(f"error: cannot write {error.filename} ({error.strerror})", file=sys.stderr)
        sys.exit(1)


def _run(given: argparse.Namespace) -> None:
    from rwtl.predicting.flow_files import compare, look_at, read, write

    file = given.file.expanduser()
    match given.command:
        case "show":
            look_at(file, given.picture or file.with_name(f"{file.stem}_colour.png"))
        case "convert":
            write(given.to.expanduser(), *read(file))
            print(f"written: {given.to}")
        case "compare":
            compare(file, given.truth.expanduser(), given.picture or file.with_name(f"{file.stem}_errors.png"))
