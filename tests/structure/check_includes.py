#!/usr/bin/env python3
# Enforces the direction of dependencies: which folder may include which, by root-relative includes.
#   check_includes.py ROOT        checks a source tree; prints violations, exit 1 if there are any
#   check_includes.py --self-test plants violations in a scratch tree and expects each to be found
import re
import sys
import tempfile
from pathlib import Path

# Layer -> layers of this project it may include, besides itself; `x/*` is x and all layers below it.
# A file belongs to the layer with the longest matching prefix.
ALLOWED = {
    "sim/core": set(),
    "sim/workload": {"sim/core"},
    "sim/schedules": {"sim/core"},
    "sim/lower": {"sim/core"},
    "sim/engine": {"sim/core"},
    "sim/scenario": {"sim/*"},
    "sim/plan": {"sim/*"},
    "backend": {"sim/core"},
    "backend/mpi": {"backend", "sim/core"},
    "backend/torch": {"backend", "sim/core", "sim/workload"},
    "backend/cuda": {"backend", "backend/torch", "sim/core", "sim/workload"},
    "analysis": {"sim/core"},
    "bench": {"sim/*", "backend/*", "analysis"},
    "tests": {"sim/*", "backend/*", "analysis", "bench"},
}
# Libraries that only some folders may see. A pattern of the include -> folders it is kept to.
LIBRARIES = [
    (r"(torch|ATen|c10)/", ["backend/torch", "backend/cuda", "bench", "tests"]),
    (r"(cuda|cupti|nccl|nvrtc|cublas|cudnn)\w*\.h$", ["backend/cuda", "bench", "tests"]),
    (r"mpi\.h$", ["backend/mpi", "bench"]),
    (r"toml\+\+/", ["sim/scenario"]),
    (r"boost/", ["analysis"]),
    (r"sqlite3\.h$", ["analysis", "tests"]),
    (r"(nvtx3|nvToolsExt)", ["backend", "backend/torch", "backend/cuda", "tests"]),
    (r"CLI/", ["bench"]),
    (r"benchmark/", ["bench"]),
    (r"(gtest|gmock|rapidcheck)", ["tests"]),
]
INCLUDE = re.compile(r'^\s*#\s*include\s+(?:"([^"]+)"|<([^>]+)>)')
SOURCES = ("sim", "backend", "analysis", "bench", "tests")


def layer(path):
    """The longest prefix of `path` in ALLOWED, or None."""
    parts = path.split("/")
    for end in range(len(parts), 0, -1):
        prefix = "/".join(parts[:end])
        if prefix in ALLOWED:
            return prefix
    return None


def allows(allowed, target):
    if allowed.endswith("/*"):
        return target == allowed[:-2] or target.startswith(allowed[:-1])
    return target == allowed


def check_project_include(root, home, include):
    if include.startswith(("./", "../", "/")) or ".." in include.split("/"):
        return f'"{include}" is not root-relative; write the path from the root of the checkout'
    if not (root / include).is_file():
        return f'"{include}" is no file; quotes are for root-relative includes of this project'
    target = layer(include)
    if target is None:
        return f'"{include}" lies in no layer of the table'
    if target == home or any(allows(allowed, target) for allowed in ALLOWED[home]):
        return None
    allowed = ", ".join(sorted(ALLOWED[home])) or "nothing else of the project"
    return f'{home} may not include "{include}" ({target}); it may include {allowed}'


def check_library_include(home, include):
    for pattern, homes in LIBRARIES:
        if re.match(pattern, include) and home not in homes:
            return f"{home} may not include <{include}>; only {', '.join(homes)} may"
    if include.split("/")[0] in SOURCES and include.endswith(".hpp"):
        return f"<{include}> is a file of this project; use quotes"
    return None


def check(root):
    """All violations under `root`, as `file:line: what`."""
    problems = []
    for folder in SOURCES:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix not in (".cpp", ".hpp", ".cu", ".cuh") or not path.is_file():
                continue
            name = path.relative_to(root).as_posix()
            home = layer(name)
            if home is None:
                problems.append(f"{name}:1: lies in no layer of the table")
                continue
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                match = INCLUDE.match(line)
                if not match:
                    continue
                quoted, angled = match.groups()
                problem = (check_project_include(root, home, quoted) if quoted
                           else check_library_include(home, angled))
                if problem:
                    problems.append(f"{name}:{number}: {problem}")
    return problems


# File -> its content, and a part of the one problem that must be found (None: none).
PLANTED = [
    ("sim/core/a.hpp", '#include "sim/engine/b.hpp"\n', "sim/core may not include"),
    ("sim/schedules/a.cpp", '#include "sim/workload/b.hpp"\n', "sim/schedules may not include"),
    ("analysis/a.cpp", '#include "backend/b.hpp"\n', "analysis may not include"),
    ("backend/a.cpp", '#include "backend/torch/b.hpp"\n', "backend may not include"),
    ("backend/torch/a.cpp", '#include "sim/scenario/b.hpp"\n', "backend/torch may not include"),
    ("sim/engine/a.cpp", '#include "../core/b.hpp"\n', "not root-relative"),
    ("sim/engine/a.cpp", '#include "b.hpp"\n', "is no file"),
    ("sim/engine/a.cpp", "#include <sim/core/b.hpp>\n", "use quotes"),
    ("sim/core/a.cpp", "#include <torch/torch.h>\n", "may not include <torch"),
    ("backend/a.cpp", "#include <cupti.h>\n", "may not include <cupti"),
    ("backend/a.cpp", "#include <mpi.h>\n", "may not include <mpi"),
    ("sim/core/a.cpp", "  #  include <toml++/toml.h>\n", "may not include <toml"),
    ("backend/torch/a.cpp", "#include <cuda_runtime.h>\n", "may not include <cuda"),
    ("sim/unknown/a.cpp", "", "no layer"),
    ("backend/torch/a.cpp", '#include "sim/workload/b.hpp"\n#include "backend/b.hpp"\n#include <ATen/ATen.h>\n', None),
    ("sim/scenario/a.cpp", '#include "sim/engine/b.hpp"\n#include <toml++/toml.h>\n', None),
    ("bench/a.cpp", '#include "analysis/b.hpp"\n#include "backend/b.hpp"\n#include "sim/scenario/b.hpp"\n', None),
]
TARGETS = ["sim/core", "sim/engine", "sim/workload", "sim/scenario", "analysis", "backend", "backend/torch"]


def self_test():
    failures = []
    for name, content, expected in PLANTED:
        with tempfile.TemporaryDirectory() as scratch:
            root = Path(scratch)
            for target in TARGETS:
                (root / target).mkdir(parents=True, exist_ok=True)
                (root / target / "b.hpp").write_text("")
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(content)
            found = check(root)
        if expected is None and found:
            failures.append(f"{name}: {content!r} is allowed, but: {found}")
        if expected is not None and (len(found) != 1 or expected not in found[0]):
            failures.append(f"{name}: {content!r} should give '{expected}', but: {found}")
    return failures


def main():
    if len(sys.argv) != 2:
        print("usage: check_includes.py ROOT | --self-test", file=sys.stderr)
        return 2
    problems = self_test() if sys.argv[1] == "--self-test" else check(Path(sys.argv[1]))
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
