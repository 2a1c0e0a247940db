# What the scripts of this folder share: running the real program, and a folder to do it in.
"""Helpers. Every script is called as SCRIPT PROGRAM SOURCE_DIR, by ctest."""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

PROGRAM = pathlib.Path(sys.argv[1]).resolve()
SOURCE = pathlib.Path(sys.argv[2]).resolve()
SLOTS = ["--cost", "F=1,I=1,W=1"]
MS = 1_000_000
WITH_TORCH = (PROGRAM.parent / "bubblescope-torch").exists()
needs_torch = unittest.skipUnless(WITH_TORCH, "this build has no LibTorch backend (bubblescope-torch)")


def run(*arguments, cwd=None, **options):
    return subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True, errors="replace", timeout=300, cwd=cwd, **options)


def results(*arguments):
    answer = run(*arguments, "--json")
    return answer.returncode, json.loads(answer.stdout)["results"]


def repetitions(normal):
    """How often a random test tries; `./test --full` says more through RC_PARAMS, as for rapidcheck."""
    asked = re.search(r"max_success=(\d+)", os.environ.get("RC_PARAMS", ""))
    return max(normal, int(asked[1])) if asked else normal


def files_of(folder):
    """The files below it, by relative path, sorted."""
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


class InFolder(unittest.TestCase):
    """A test with an empty folder of its own."""

    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)

    def write(self, name, content):
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return file

    def fails(self, code, *arguments, **options):
        """Runs the program, which must end with `code`, and returns what it said about it."""
        answer = run(*arguments, **options)
        self.assertEqual(answer.returncode, code, f"{arguments}\n{answer.stdout}\n{answer.stderr}")
        self.assertTrue(answer.stderr.startswith("bubblescope: "), answer.stderr)
        return answer.stderr


def main():
    unittest.main(argv=sys.argv[:1])
