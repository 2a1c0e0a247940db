#!/usr/bin/env python3
# Checks that every header can be included first and twice: it names all that it needs itself.
# Headers of backend/torch, backend/cuda and backend/mpi need more than a compiler and are left to their own builds.
#   check_headers.py COMPILER ROOT         exit 1 and the compiler's words if a header does not compile
#   check_headers.py COMPILER --self-test  plants a header that leans on another include
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

FOLDERS = ("sim", "backend", "analysis", "bench")
SKIPPED = ("backend/torch/", "backend/cuda/", "backend/mpi/")
FLAGS = ["-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-DFMT_HEADER_ONLY"]


def compile_alone(compiler, root, name):
    """What is wrong with the header, or nothing."""
    source = f'#include "{name}"\n#include "{name}"\n'
    done = subprocess.run([compiler, *FLAGS, f"-I{root}", "-x", "c++", "-"], input=source, text=True,
                          capture_output=True, check=False)
    return None if done.returncode == 0 else f"{name}: does not compile by itself\n{done.stderr}"


def check(compiler, root):
    names = [path.relative_to(root).as_posix() for folder in FOLDERS for path in sorted((root / folder).rglob("*.hpp"))]
    names = [name for name in names if not name.startswith(SKIPPED)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return [p for p in pool.map(lambda name: compile_alone(compiler, root, name), names) if p]


def self_test(compiler):
    planted = {
        "sim/good.hpp": "// Good.\n#pragma once\n#include <vector>\nstruct Good { std::vector<int> a; };\n",
        "sim/leaning.hpp": "// Leans on others.\n#pragma once\nstruct Leaning { std::vector<int> a; };\n",
        "sim/twice.hpp": "// Not guarded.\nstruct Twice {};\n",
    }
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        (root / "sim").mkdir()
        for name, content in planted.items():
            (root / name).write_text(content)
        found = check(compiler, root)
    wanted = ["sim/leaning.hpp", "sim/twice.hpp"]
    blamed = [problem.split(":")[0] for problem in found]
    return [] if blamed == wanted else [f"expected {wanted} to be found, but: {found}"]


def main():
    if len(sys.argv) != 3:
        print("usage: check_headers.py COMPILER ROOT | --self-test", file=sys.stderr)
        return 2
    compiler, what = sys.argv[1:]
    problems = self_test(compiler) if what == "--self-test" else check(compiler, Path(what).resolve())
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
