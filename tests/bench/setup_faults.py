# ./setup and ./demo on a machine where installing fails half-way, with stand-ins for what they call.
"""What an install that fails says, what it leaves, and that it can simply be run again."""

import os
import pathlib
import platform
import shutil
import subprocess
import unittest

from program import SOURCE, InFolder, main

# What the stand-ins do is in the files `fail` (names of those that fail) and `calls` (what was called).
STAND_IN = """#!/bin/bash
printf '%s\\n' "$(basename "$0") $*" >> "$STATE/calls"
if grep -qx "$(basename "$0") ${WHAT}" "$STATE/fail" 2>/dev/null; then echo "E: stand-in: ${WHAT} has failed" >&2; exit 100; fi
"""
APT_GET = STAND_IN.replace("${WHAT}", "$1") + '[ "$1" != install ] || touch "$STATE/installed"\n'
DPKG_QUERY = '#!/bin/bash\n[ ! -e "$STATE/installed" ] || printf installed\n'
# `python3 -m venv DIR` makes a python whose pip unpacks half a wheel before it fails.
PYTHON = STAND_IN.replace("${WHAT}", "venv") + """mkdir -p "$3/bin"; ln -s "$STATE/bin/pip" "$3/bin/python"\n"""
PIP = """#!/bin/bash
printf 'pip %s\\n' "$*" >> "$STATE/calls"
while [ "$1" != --target ]; do shift; done
mkdir -p "$2/torch/lib"
if grep -qx "pip install" "$STATE/fail" 2>/dev/null; then echo "ERROR: No matching distribution found" >&2; exit 1; fi
if grep -qx "pip wheel" "$STATE/fail" 2>/dev/null; then exit 0; fi
touch "$2/torch/lib/libtorch_cpu.so"
"""
DF = "#!/bin/bash\nprintf 'Filesystem 1024-blocks Used Available Capacity Mounted\\nfake 9 9 %s 9%% /\\n' \"$(cat \"$STATE/free\")\"\n"
AGAIN = "Run the same command again"
CMAKE = STAND_IN.replace("${WHAT}", "$1") + """if [ "$1" = --build ]; then mkdir -p build/release; printf '#!/bin/bash\\necho "the table"\\n' > build/release/bubblescope; chmod +x build/release/bubblescope; fi\n"""


def is_debian_12():
    release = pathlib.Path("/etc/os-release")
    text = release.read_text() if release.exists() else ""
    return 'VERSION_ID="12"' in text and "ID=debian" in text.splitlines() and platform.machine() == "x86_64"


@unittest.skipUnless(is_debian_12(), "./setup ends with its platform message anywhere but on Debian 12, x86_64")
class Setup(InFolder):
    def setUp(self):
        super().setUp()
        for name, text in [("apt-get", APT_GET), ("dpkg-query", DPKG_QUERY), ("python3", PYTHON), ("pip", PIP), ("df", DF), ("cmake", CMAKE), ("sudo", '#!/bin/bash\n"$@"\n')]:
            self.write(f"bin/{name}", text).chmod(0o755)
        self.write("free", "9000000")
        self.cache = self.folder / "cache"
        self.prefix = pathlib.Path(subprocess.run([SOURCE / "setup", "--print"], env=self.environment(), capture_output=True, text=True, check=True).stdout.strip())
        self.assertEqual(self.prefix.parent, self.cache)

    def environment(self):
        return os.environ | {"PATH": f"{self.folder}/bin:{os.environ['PATH']}", "STATE": str(self.folder), "BUBBLESCOPE_CACHE": str(self.cache)}

    def setup_with(self, *failing, script=SOURCE / "setup"):
        self.write("fail", "".join(f"{what}\n" for what in failing))
        (self.folder / "calls").unlink(missing_ok=True)
        return subprocess.run([script], env=self.environment(), capture_output=True, text=True, timeout=60)

    def calls(self):
        file = self.folder / "calls"
        return file.read_text() if file.exists() else ""

    def complete(self):
        return (self.prefix / "torch/lib/libtorch_cpu.so").exists()

    def check_failure(self, failing, *said):
        answer = self.setup_with(*failing)
        self.assertEqual(answer.returncode, 1, answer.stderr)
        for text in said:
            self.assertIn(text, answer.stderr)
        self.assertFalse(self.prefix.exists())

    def check_success(self):
        answer = self.setup_with()
        self.assertEqual(answer.returncode, 0, answer.stderr)
        self.assertTrue(self.complete())
        self.assertFalse(list(self.cache.glob("*.partial*")))

    def test_every_step_that_fails_is_named_and_running_again_goes_on(self):
        self.check_failure(["apt-get update"], "'apt-get update' failed", "network", "stand-in: update has failed", AGAIN)
        self.check_failure(["apt-get install"], "'apt-get install' failed", "stand-in: install has failed", AGAIN)
        self.write("installed", "")
        self.check_failure(["python3 venv"], "python3 -m venv", "stand-in: venv has failed", AGAIN)
        self.check_failure(["pip install"], "torch==2.11.0", "No matching distribution", AGAIN)
        self.check_failure(["pip wheel"], "without torch/lib/libtorch_cpu.so", AGAIN)
        self.check_success()

    def test_what_is_done_is_not_done_again(self):
        self.check_success()
        self.setup_with("apt-get update", "apt-get install", "python3 venv", "pip install")
        self.assertEqual(self.calls(), "")

    def test_a_disk_without_room_is_told_before_anything_is_fetched(self):
        self.write("free", "1000")
        self.check_failure([], f"The disk of the cache folder {self.cache} has 0 MiB free", AGAIN)
        self.assertNotIn("-m venv", self.calls())
        self.write("free", "9000000")
        self.check_success()

    def test_what_a_killed_install_left_is_replaced(self):
        half = pathlib.Path(f"{self.prefix}.partial")
        (half / "torch/lib").mkdir(parents=True)
        (half / "torch/lib/libtorch_cpu.so").write_text("half")
        self.check_success()
        self.assertEqual((self.prefix / "torch/lib/libtorch_cpu.so").read_text(), "")

    def test_a_cache_that_cannot_be_made_is_named(self):
        self.cache.write_text("a file")
        self.check_failure([], f"cache folder {self.cache} cannot be made", AGAIN)

    def test_a_step_that_nobody_expects_to_fail_is_named_too(self):
        self.write("bin/mv", "#!/bin/bash\necho 'mv: No space left on device' >&2\nexit 1\n").chmod(0o755)
        self.check_failure([], "mv: No space left on device", 'setup: "mv ', AGAIN)
        (self.folder / "bin/mv").unlink()
        self.check_success()

    def test_the_demo_stops_at_the_step_that_failed_and_can_be_run_again(self):
        for name in ["setup", "demo"]:
            shutil.copy(SOURCE / name, self.folder / name)
        answer = self.setup_with("apt-get update", script=self.folder / "demo")
        self.assertEqual(answer.returncode, 1)
        self.assertIn("'apt-get update' failed", answer.stderr)
        self.assertNotIn("cmake", self.calls())
        answer = self.setup_with("cmake --build", script=self.folder / "demo")
        self.assertNotEqual(answer.returncode, 0)
        self.assertNotIn("The report", answer.stdout)
        answer = self.setup_with(script=self.folder / "demo")
        self.assertEqual(answer.returncode, 0, answer.stderr)
        self.assertIn("the table", answer.stdout)
        self.assertIn("The report: ", answer.stdout)


if __name__ == "__main__":
    main()
