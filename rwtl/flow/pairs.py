"""Data sets on disk as lists of pairs of frames, most with a file of flow; a user's own folder is one."""

import hashlib
import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from rwtl.errors import InputError
from rwtl.flow.digests import file_digests
from rwtl.flow.files import image_size, read_bytes, read_flow, read_image
from rwtl.flow.sample import FlowDataset, FlowSample, flow_sample
from rwtl.sections import Unfit, section

_READ_WHOLE = 10**9  # bytes
_WAYS = 64  # to each folder in the mean, through links
_VISITS = 10_000  # to folders, below which those do not matter
_SHOWN = 5  # names, or files without partners, in one message


@dataclass(frozen=True, slots=True)
class FlowPair:
    """The files of one pair; `flow` is None where a test split keeps it back."""

    name: str
    image1: Path
    image2: Path
    flow: Path | None

    def files(self) -> list[Path]:
        return [path for path in (self.image1, self.image2, self.flow) if path is not None]


class FlowPairs(FlowDataset):
    """Pairs of frames on disk; a subclass is a layout, which says what the pairs are.

    Files are read when a pair is asked for. Where a pair has no flow, the sample's flow is 0 and nowhere valid.

    Args:
        root: The folder of the data set, for messages.
        pairs: At least one, each of another name, and all names UTF-8.

    Attributes:
        root: The folder of the data set.
        pairs: The files of each pair.
        layout: The files that the data set consists of, for messages.

    Raises:
        InputError: There is no pair, or a name is not UTF-8. When a pair is read: a file is damaged, or frames and flow
            differ in size.
    """

    layout: str = "pairs of frames"

    def __init__(self, root: Path, pairs: list[FlowPair]) -> None:
        if not pairs:
            raise Unfit(
                f"root is {root}: no {type(self).__name__} pairs, expected files such as {self.layout}; "
                "set it to the folder that holds them."
            )
        for text in chain([str(root)], *([pair.name, *(path.name for path in pair.files())] for pair in pairs)):
            if not _is_text(text):
                raise Unfit(f"root: the name {os.fsencode(text)!r} is not UTF-8; rename it, or set another folder.")
        self.root = root
        self.pairs = pairs
        self.names = [pair.name for pair in pairs]

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> FlowSample:
        pair = self.pairs[index]
        image1, image2 = read_image(pair.image1), read_image(pair.image2)
        arrays = [image1, image2]
        if pair.flow is None:
            flow, known = np.zeros_like(image1[:2]), np.zeros_like(image1[0])
        else:
            flow, known = read_flow(pair.flow)
            arrays.append(flow)
        sizes = [array.shape[1:] for array in arrays]
        if len(set(sizes)) > 1:
            listed = ", ".join(
                f"{path.name} {width}x{height}" for path, (height, width) in zip(pair.files(), sizes, strict=True)
            )
            raise InputError(
                f"{pair.image1.parent}: pair {pair.name} differs in size: {listed} px (width x height); "
                "restore its files from the original data set."
            )
        return flow_sample(image1, image2, flow, known)

    def frame_size(self, index: int) -> tuple[int, int]:
        """Return height and width of the first frame in px, by its header."""
        return image_size(self.pairs[index].image1)

    @property
    def has_flow(self) -> bool:
        """Whether there is any flow; a test split keeps all of it back."""
        return any(pair.flow is not None for pair in self.pairs)

    def identity(self) -> dict[str, int | str]:
        """Return what tells this data from other data, wherever it lies.

        The digest covers the names of the pairs, the names and sizes of all files, and their whole content. Of sets
        over 1 GB, which take too long to read at every start, each file is read once (see `digests.file_digests`).

        Raises:
            InputError: A file is missing, is none that can be read, or is changed meanwhile.
        """
        status = {path: _status(path) for pair in self.pairs for path in pair.files()}
        digest = hashlib.sha256()
        for pair in self.pairs:
            listed = " ".join(f"{path.name} {status[path].st_size}" for path in pair.files())
            digest.update(f"{pair.name}: {listed}\n".encode())
        columns = zip(*((pair.image1, pair.image2, pair.flow) for pair in self.pairs), strict=True)
        files = [path for path in dict.fromkeys(path for column in columns for path in column) if path is not None]
        if sum(each.st_size for each in status.values()) <= _READ_WHOLE:
            for path in files:
                digest.update(read_bytes(path))
        else:
            for each in file_digests({path: status[path] for path in files}, str(self.root)):
                digest.update(bytes.fromhex(each))
        return {"pairs": len(self.pairs), "sha256": digest.hexdigest()}


def _status(path: Path) -> os.stat_result:
    """Return what the system says of a file; what is none is an InputError."""
    try:
        status = path.stat()
    except OSError as error:
        what = f"a link to {os.readlink(path)}, which leads nowhere" if path.is_symlink() else "cannot be found"
        raise InputError(f"{path}: {what} ({error.strerror}); restore the file, or move its pair away.") from error
    if not stat.S_ISREG(status.st_mode):  # reading a FIFO would wait for ever, and a device has no end
        raise InputError(f"{path}: is no file; restore the file from the data set, or move its pair away.")
    return status


def _is_text(name: str) -> bool:
    """Whether it holds no bytes that are not UTF-8, which Python stands for by surrogates and no file could keep."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def existing_folder(folder: Path, expected: str) -> Path:
    """Return the folder; an InputError names it and what it should hold where it does not exist."""
    if not folder.is_dir():
        raise Unfit(
            f"root leads to {folder}: no such folder; expected files such as {expected}, set it to their folder."
        )
    return folder


def matched_files(folder: Path, pattern: str, suffix: str, layout: str) -> dict[str, Path]:
    """Return the files of a folder with a suffix, by what the group of `pattern` matches in their stems, sorted by it.

    Hidden files do not count; a file with that suffix whose stem the pattern does not match is an InputError.
    """
    existing_folder(folder, layout)
    found = {}
    for path in folder.glob("[!.]*"):
        if path.suffix.lower() != suffix:
            continue
        if not (match := re.fullmatch(pattern, path.stem)):
            raise InputError(
                f"{folder}: {path.name} does not belong there, expected files such as {layout}; "
                "rename it or move it away."
            )
        if other := found.get(match[1]):
            raise InputError(f"{folder}: {other.name} and {path.name} are the same file twice; move one of them away.")
        found[match[1]] = path
    return dict(sorted(found.items()))


def subfolders(folder: Path, layout: str) -> list[str]:
    """Return the sorted names of the folders in a folder, without hidden ones."""
    existing_folder(folder, layout)
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def require_same(where: Path, found: Iterable[str], expected: Iterable[str], what: str, counterpart: str) -> None:
    """Raise an InputError that names what is missing, or what is there with nothing that it belongs to.

    Args:
        where: Folder of what was found.
        found: Names of those that have `what`.
        expected: Names of those that have `counterpart`, and should have `what` too.
        what: Such as `flow`.
        counterpart: Such as `frames`.
    """
    found, expected = set(found), set(expected)
    if missing := expected - found:
        raise InputError(f"{where}: {counterpart} but no {what} for {_listed(missing)}; restore it from the data set.")
    if extra := found - expected:
        raise InputError(f"{where}: {what} but no {counterpart} for {_listed(extra)}; restore that, or move it away.")


def _listed(names: set[str]) -> str:
    shown = sorted(names)[:_SHOWN]
    return ", ".join(shown) + (f" and {len(names) - len(shown)} more" if len(names) > len(shown) else "")


@section("folder", eq=False)
class FlowFolder(FlowPairs):
    """Pairs whose files share what the wildcard of a pattern matches, which becomes the name of the pair.

    A pattern is a path under `root` in which one `*` stands for any text within one name; before it, `**/` may stand
    for any subfolders, which then belong to the pair's name. All other characters stand for themselves. So
    `images/*_1.png` finds the frame of `images/tree_1.png`, pair `tree`; and `**/*_1.png` that of `a/b/tree_1.png`,
    pair `a/b/tree`. Several patterns, with `|` between them, find what any of them does: `*_1.png|*_1.jpg`. Endings may
    be in capitals. Hidden files do not count, nor do files that no pattern matches.

    Args:
        root: The folder.
        image1: Pattern of the first frames (PPM, PNG, JPEG, BMP, WebP or TIFF).
        image2: Pattern of the second frames.
        flow: Pattern of the flow, whose suffix says its format: `.flo`, `.pfm`, or `.png` for KITTI's.

    Attributes:
        names: The text that the wildcards match.
        sparse: True where flow is in KITTI's format.

    Raises:
        InputError: A pattern has no `*` or several, a file belongs to two patterns, or a file has no others beside it.
    """

    root: Path
    image1: str
    image2: str
    flow: str

    def __post_init__(self) -> None:
        root = self.root
        patterns = {"image1": self.image1, "image2": self.image2, "flow": self.flow}
        self.layout = ", ".join(f"{role}: {pattern}" for role, pattern in patterns.items())
        self.sparse = any(pattern.lower().endswith(".png") for pattern in self.flow.split("|"))
        existing_folder(root, self.layout)
        files = list(_files_below(root))
        found = {role: _found(root, files, role, pattern) for role, pattern in patterns.items()}
        _refuse_shared(root, found)
        names = sorted(set().union(*found.values()))
        _refuse_unmatched(root, names, found, patterns)
        super().__init__(root, [FlowPair(name, *(root / found[role][name] for role in patterns)) for name in names])


def _files_below(root: Path) -> Iterator[str]:
    """Yield the names, as paths under `root`, of all files in it and in its folders, through links too.

    Hidden ones do not count. A link to a folder that holds it is not followed, for all there is found already. A link
    that leads nowhere is listed, so that reading it names it.
    """
    status = root.stat()
    distinct = {(status.st_dev, status.st_ino)}
    waiting = [("", frozenset(distinct))]
    visits = 0
    while waiting:
        folder, holders = waiting.pop()
        visits += 1
        if visits > max(_VISITS, _WAYS * len(distinct)):  # each level of links may double their number
            raise Unfit(
                f"root is {root}: links lead to its {len(distinct)} folders in more than {visits - 1} ways; remove "
                f"links to folders, such as {root / folder}, or set it to a folder without them."
            )
        try:
            entries = [entry for entry in os.scandir(root / folder) if not entry.name.startswith(".")]
        except OSError as error:
            raise Unfit(
                f"root leads to {root / folder}: cannot be read ({error.strerror}); make it readable, or set it to "
                "another folder."
            ) from error
        for entry in entries:
            name = f"{folder}{entry.name}"
            if not _is_folder(entry):
                yield name
                continue
            status = os.stat(root / name)
            key = (status.st_dev, status.st_ino)
            if key not in holders:
                distinct.add(key)
                waiting.append((f"{name}/", holders | {key}))


def _is_folder(entry: os.DirEntry) -> bool:
    """Whether it is a folder, or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _found(root: Path, files: list[str], role: str, patterns: str) -> dict[str, str]:
    """Return the files that any of some patterns matches by the text of its wildcards, no two by the same."""
    found: dict[str, str] = {}
    for file, name in chain.from_iterable(_matches(files, role, pattern) for pattern in patterns.split("|")):
        if (other := found.setdefault(name, file)) != file:
            raise InputError(f"{root}: {other} and {file} are both {role} of pair {name}; move one of them away.")
    return found


def _matches(files: list[str], role: str, pattern: str) -> Iterator[tuple[str, str]]:
    """Yield the files that a pattern matches, each with the text of its wildcards."""
    rest = pattern.replace("**/", "", 1)
    if rest.count("*") != 1 or pattern.find("**/") > pattern.find("*"):
        raise Unfit(
            f"{role} is {pattern!r}; a pattern needs one *, which names the pair, and may have one **/ before it, "
            "for any subfolders: such as *_img1.png or **/*_img1.png."
        )
    expression = re.escape(pattern).replace(re.escape("**/"), "((?:[^/]+/)*)", 1).replace(re.escape("*"), "([^/]+)", 1)
    rest, dot, ending = expression.rpartition(re.escape("."))
    if dot and ending.isalnum():
        expression = f"{rest}(?i:{dot}{ending})"
    for file in files:
        if match := re.fullmatch(expression, file):
            yield file, "".join(match.groups())


def _refuse_shared(root: Path, found: dict[str, dict[str, str]]) -> None:
    owner: dict[str, str] = {}
    for role, files in found.items():
        for file in files.values():
            if owner.setdefault(file, role) != role:
                raise InputError(f"{root}: {file} is matched by {owner[file]} and {role}; make the patterns narrower.")


def _refuse_unmatched(root: Path, names: list[str], found: dict[str, dict[str, str]], patterns: dict[str, str]) -> None:
    problems = []
    for name in names:
        if missing := [role for role in patterns if name not in found[role]]:
            there = " and ".join(found[role][name] for role in patterns if name in found[role])
            problems.append(f"{there} without {' and '.join(missing)}")
    if problems:
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        counts = ", ".join(f"{role} {pattern!r} {len(found[role])}" for role, pattern in patterns.items())
        raise InputError(
            f"{root}: files without partners: {'; '.join(problems[:_SHOWN])}{more}. Files that match: {counts}; "
            "correct the patterns, or add or remove files."
        )
