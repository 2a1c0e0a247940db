#!/usr/bin/env python3
# Enforces what every text file here has in common: no tabs, no trailing spaces, one newline at the end,
# a comment that says what the file is, no paths of one machine, no notes to self, and tests that lie
# where the file they test does.
#   check_style.py ROOT         checks a source tree; prints violations, exit 1 if there are any
#   check_style.py --self-test  plants violations in a scratch tree and expects each to be found
import re
import sys
import tempfile
from pathlib import Path

FOLDERS = ("sim", "backend", "analysis", "bench", "tests", "scenarios", "reports")
MIRRORED = ("sim", "backend", "analysis", "bench")
SUFFIXES = {".cpp", ".hpp", ".cu", ".cuh", ".py", ".sh", ".toml", ".md", ".cmake"}
COMMENT = {".cpp": "//", ".hpp": "//", ".cu": "//", ".cuh": "//", ".py": "#", ".sh": "#", ".toml": "#", ".cmake": "#"}
NOTES = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b")
# Homes and checkouts; a variable such as $HOME is no such path.
MACHINE = re.compile(r"(?<![\w.$}~/])/(wo" r"rk|ho" r"me|ro" r"ot|Us" r"ers|mnt|workspace)/\w")


def files(root):
    """Everything that is checked: texts of the source folders and of the top."""
    found = [path for path in root.iterdir() if path.is_file() and not path.name.startswith(".")]
    for folder in FOLDERS:
        found += (root / folder).rglob("*")
    for path in sorted(found):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path, path.relative_to(root).as_posix()


def is_source(path, name):
    if name.startswith(("tests/data/", "reports/")):
        return False
    return path.suffix in SUFFIXES or path.name == "CMakeLists.txt" or is_script(path)


def is_script(path):
    return path.suffix == "" and path.open("rb").read(2) == b"#!"


def has_header(path, lines):
    sign = COMMENT.get(path.suffix, "#" if path.name == "CMakeLists.txt" or is_script(path) else None)
    if sign is None:
        return True
    first = [line for line in lines if line.strip() and not line.startswith("#!")][:1]
    return bool(first) and first[0].startswith(sign)


def check_lines(path, name, text):
    lines = text.split("\n")
    if not has_header(path, lines):
        yield f"{name}:1: does not begin with a comment that says what the file is"
    if text and not text.endswith("\n") or text.endswith("\n\n"):
        yield f"{name}:{len(lines)}: does not end with exactly one newline"
    for number, line in enumerate(lines, 1):
        if "\t" in line:
            yield f"{name}:{number}: a tab; use spaces"
        if line != line.rstrip():
            yield f"{name}:{number}: trailing spaces"
        if NOTES.search(line):
            yield f"{name}:{number}: a note to self ({NOTES.search(line).group()}); do it or leave it out"


def check_mirror(root, name):
    parts = name.split("/")
    if len(parts) < 3 or parts[0] != "tests" or parts[1] not in MIRRORED or not name.endswith("_test.cpp"):
        return
    tested = "/".join(parts[1:])[: -len("_test.cpp")]
    whole, _, _ = tested.rpartition("_")  # a_b_test.cpp may test one side of a.cpp
    if not any((root / (stem + suffix)).is_file() for stem in (tested, whole) for suffix in (".cpp", ".hpp", ".cu")):
        yield f"{name}:1: tests no file; expected {tested}.cpp or {tested}.hpp"


def check(root):
    """All violations under `root`, as `file:line: what`."""
    problems = []
    for path, name in files(root):
        try:
            text = path.read_bytes().decode("utf-8")
        except UnicodeDecodeError:
            continue  # a binary, such as a tiny data file of a test
        if is_source(path, name):
            problems += check_lines(path, name, text)
            problems += check_mirror(root, name)
        for number, line in enumerate(text.split("\n"), 1):
            if MACHINE.search(line):
                problems.append(f"{name}:{number}: a path of one machine ({MACHINE.search(line).group()}...)")
    return problems


# File -> its content, and a part of the one problem that must be found (None: none).
PLANTED = [
    ("sim/core/a.cpp", "// A.\nint a;\t// b\n", "a tab"),
    ("sim/core/a.cpp", "// A.\nint a; \n", "trailing spaces"),
    ("sim/core/a.cpp", "// A.\r\n", "trailing spaces"),
    ("sim/core/a.cpp", "// A.\nint a;", "newline"),
    ("sim/core/a.cpp", "// A.\nint a;\n\n", "newline"),
    ("sim/core/a.cpp", "#include <vector>\n// A.\n", "does not begin with a comment"),
    ("sim/CMakeLists.txt", "add_library(a)\n", "does not begin with a comment"),
    ("scenarios/a.toml", "[model]\n", "does not begin with a comment"),
    ("tests/structure/a.py", "#!/usr/bin/env python3\nimport re\n", "does not begin with a comment"),
    ("run", "#!/bin/sh\nexit 0\n", "does not begin with a comment"),
    ("sim/core/a.cpp", "// A. TO" "DO: b\n", "a note to self"),
    ("sim/core/a.cpp", "// A. See /ho" "me/me/b.\n", "a path of one machine"),
    ("reports/a.json", '{"file": "/wo' 'rk/a/b.toml"}', "a path of one machine"),
    ("tests/sim/core/b_test.cpp", "// Tests b.\n", "tests no file"),
    ("tests/sim/core/a_test.cpp", "// Tests a.\n", None),
    ("tests/sim/core/a_far_test.cpp", "// Tests one side of a.\n", None),
    ("tests/sim/core/a_far_off_test.cpp", "// Tests a_far_off.\n", "tests no file"),
    ("tests/data/a.csv", "a,b \t\n", None),
    ("setup", "#!/bin/sh\n# Sets up.\ncache=$HOME/.cache/ho" "me/x\n", None),
]


def self_test():
    failures = []
    for name, content, expected in PLANTED:
        with tempfile.TemporaryDirectory() as scratch:
            root = Path(scratch)
            (root / "sim/core").mkdir(parents=True)
            (root / "sim/core/a.hpp").write_text("// A.\n")
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content.encode())
            found = check(root)
        if expected is None and found:
            failures.append(f"{name}: {content!r} is allowed, but: {found}")
        if expected is not None and (len(found) != 1 or expected not in found[0]):
            failures.append(f"{name}: {content!r} should give '{expected}', but: {found}")
    return failures


def main():
    if len(sys.argv) != 2:
        print("usage: check_style.py ROOT | --self-test", file=sys.stderr)
        return 2
    problems = self_test() if sys.argv[1] == "--self-test" else check(Path(sys.argv[1]))
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
