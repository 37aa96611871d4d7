"""A user's own folder of pairs, found by patterns of file names."""

import os
import re
from pathlib import Path

from rwtl.data.flow_pairs import FlowPair, FlowPairs, existing_folder
from rwtl.errors import InputError

_SHOWN = 5  # problems named in one message


class FlowFolder(FlowPairs):
    """Pairs whose files share what the wildcard of a pattern matches, which becomes the name of the pair.

    A pattern is a path under `root` in which one `*` stands for any text within one name; before it, `**/` may stand
    for any subfolders, which then belong to the pair's name. All other characters stand for themselves. So
    `images/*_1.png` finds the frame of `images/tree_1.png`, pair `tree`; and `**/*_1.png` that of `a/b/tree_1.png`,
    pair `a/b/tree`. Hidden files do not count, nor do files that no pattern matches.

    Args:
        root: The folder.
        image1: Pattern of the first frames (PPM, PNG or JPEG).
        image2: Pattern of the second frames.
        flow: Pattern of the flow, whose suffix says its format: `.flo`, `.pfm`, or `.png` for KITTI's.

    Attributes:
        names: The text that the wildcards match.
        sparse: True where the flow is in KITTI's format.

    Raises:
        InputError: A pattern has no `*` or several, a file belongs to two patterns, or a file has no others beside it.
    """

    def __init__(self, root: str | Path, image1: str, image2: str, flow: str) -> None:
        root = Path(root)
        patterns = {"image1": image1, "image2": image2, "flow": flow}
        self.layout = ", ".join(f"{role}: {pattern}" for role, pattern in patterns.items())
        self.sparse = flow.lower().endswith(".png")
        files = _files(existing_folder(root, self.layout))
        found = {role: _matches(files, role, pattern) for role, pattern in patterns.items()}
        _refuse_shared(root, found)
        names = sorted(set().union(*found.values()))
        _refuse_unmatched(root, names, found, patterns)
        super().__init__(root, [FlowPair(name, *(root / found[role][name] for role in patterns)) for name in names])


def _files(root: Path) -> list[str]:
    """All files under a folder, as paths relative to it; links to folders are followed, hidden names are not."""
    files = []
    for folder, inner, names in os.walk(root, followlinks=True):
        inner[:] = [name for name in inner if not name.startswith(".")]
        within = Path(folder).relative_to(root)
        files += [(within / name).as_posix() for name in names if not name.startswith(".")]
    return files


def _matches(files: list[str], role: str, pattern: str) -> dict[str, str]:
    """Return the files that a pattern matches by the text of its wildcards."""
    rest = pattern.replace("**/", "", 1)
    if rest.count("*") != 1 or pattern.find("**/") > pattern.find("*"):
        raise InputError(
            f"{role} is {pattern!r}; a pattern needs one *, which names the pair, and may have one **/ before it, "
            "for any subfolders: such as *_img1.png or **/*_img1.png."
        )
    expression = re.escape(pattern).replace(re.escape("**/"), "((?:[^/]+/)*)", 1).replace(re.escape("*"), "([^/]+)", 1)
    matches = ((re.fullmatch(expression, file), file) for file in files)
    return {"".join(match.groups()): file for match, file in matches if match}


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
