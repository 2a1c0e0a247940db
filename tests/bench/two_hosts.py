# bench/cluster/two_hosts.sh: a job over two network namespaces, which stand in for hosts.
"""Skipped (77, with the reason) where no namespaces can be made."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

from mpirun import end_with_parent, environment
from program import PROGRAM, SOURCE, InFolder, main, needs_torch, run
from scenarios import mlp, null

SCRIPT = SOURCE / "bench/cluster/two_hosts.sh"


def start(*arguments, **variables):
    return subprocess.Popen([SCRIPT, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env=environment(BUBBLESCOPE=str(PROGRAM), **variables), preexec_fn=end_with_parent)


def two_hosts(*arguments, **variables):
    script = start(*arguments, **variables)
    output, error = script.communicate(timeout=200)
    # mpirun itself says this where its agent has begun before it looks, as on a busy machine.
    error = re.sub(r"^\[.*\] plm:rsh: Warning: setpgid\(.*\n", "", error, flags=re.MULTILINE)
    return script.returncode, output, error


def hosts_left(script):
    spaces = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, timeout=30).stdout
    return [line for line in spaces.splitlines() if line.startswith(f"bs{script.pid}-")]


class TwoHosts(InFolder):
    def counters(self):
        """Host -> (bytes received, bytes sent)."""
        lines = [line.split() for line in (self.folder / "counters").read_text().splitlines()]
        return [(int(received), int(sent)) for _, _, received, _, sent in lines]

    @needs_torch
    def test_a_training_over_two_hosts_is_that_of_one_process(self):
        # Per iteration 16 samples of 1024 numbers forwards and as many gradients back: 8 times 64 KiB each way.
        scenario = self.write("s.toml", mlp('name = "1f1b"\nmicrobatches = 4', width=1024, epochs=2))
        code, output, error = two_hosts("--rate", "200mbit", "--counters", self.folder / "counters", "--", "run", scenario, "--train", "--out", self.folder / "two")
        self.assertEqual((code, error), (0, ""), output)
        self.assertEqual(run("run", scenario, "--train", "--out", self.folder / "one").returncode, 0)
        for name in ["1f1b.checkpoint", "1f1b.training.json"]:
            self.assertEqual((self.folder / "two" / name).read_bytes(), (self.folder / "one" / name).read_bytes())
        for received, sent in self.counters():
            self.assertGreater(min(received, sent), 8 * 65536)

    @needs_torch
    def test_calibrate_sees_the_limit_of_the_link(self):
        scenario = self.write("s.toml", mlp('name = "gpipe"\nmicrobatches = 1', width=1024).replace("repeats = 2", "repeats = 1"))
        code, output, error = two_hosts("--rate", "40mbit", "--", "calibrate", scenario, "-o", self.folder / "p.json")
        self.assertEqual((code, error), (0, ""), output)
        link = json.loads((self.folder / "p.json").read_text())["link"]
        largest = link["transfers"][-1]
        self.assertGreaterEqual(largest["bytes"], 65536)
        # 5 MB/s, of which the bucket lets one frame through at once.
        for way in [largest, link["both_ways"][-1]]:
            self.assertGreater(way["time"]["median"], (way["bytes"] - 4100) / 5e6 * 1e9)

    @needs_torch
    def test_calibrate_tells_the_link_from_what_is_within_a_host(self):
        scenario = self.write("s.toml", mlp('name = "gpipe"\nmicrobatches = 1', ranks=4, depth=4, width=1024).replace("repeats = 2", "repeats = 1"))
        code, output, error = two_hosts("--rate", "40mbit", "--processes", "2", "--", "run", scenario, "--out", self.folder / "out")
        self.assertEqual((code, error), (0, ""), output)
        model = json.loads((self.folder / "out/run.json").read_text())
        self.assertTrue([note for note in model["notes"] if re.match(r"4 processes over MPI, 1 rank each, on 2 hosts: bs\d+-a \(.+, \d+ cores?\), bs\d+-b \(.+, \d+ cores?\)\.$", note)], model["notes"])
        self.assertRegex(model["command"], "^mpirun -n 4 bubblescope run ")
        link = json.loads((self.folder / "out/profile.json").read_text())["link"]
        self.assertEqual((link["processes"], link["hosts"]), (4, [0, 0, 1, 1]))
        across, beside = link["transfers"][-1], link["beside"]["transfers"][-1]
        self.assertGreaterEqual(across["bytes"], 65536)
        self.assertGreater(across["time"]["median"], (across["bytes"] - 4100) / 5e6 * 1e9)
        self.assertLess(beside["time"]["median"], across["time"]["median"] / 2)

    def test_ctrl_c_and_kill_leave_nothing_behind(self):
        scenario = self.write("s.toml", null('name = "gpipe"\nmicrobatches = 2', forward="500ms", repeats=100))
        for number in [signal.SIGINT, signal.SIGTERM]:
            script = start("--", "run", scenario)
            end = time.monotonic() + 60
            while len(hosts_left(script)) < 2 or str(PROGRAM) not in self.at_work(script):
                self.assertTrue(script.poll() is None and time.monotonic() < end)
                time.sleep(0.1)
            first, second = self.cores(script)
            self.assertTrue(first.isdisjoint(second) or len(os.sched_getaffinity(0)) == 1, (first, second))
            script.send_signal(number)
            output, error = script.communicate(timeout=60)
            self.assertEqual((script.returncode, hosts_left(script)), (128 + number, []), error)

    @staticmethod
    def cores(script):
        """Processor cores of either host's processes."""
        hosts = []
        for host in hosts_left(script):
            pids = subprocess.run(["ip", "netns", "pids", host.split()[0]], capture_output=True, text=True, timeout=30).stdout.split()
            hosts.append({core for pid in pids for core in os.sched_getaffinity(int(pid))})
        return hosts

    @staticmethod
    def at_work(script):
        """The command lines in both hosts."""
        lines = ""
        for host in hosts_left(script):
            for pid in subprocess.run(["ip", "netns", "pids", host.split()[0]], capture_output=True, text=True, timeout=30).stdout.split():
                file = pathlib.Path(f"/proc/{pid}/cmdline")
                lines += file.read_text().split("\0")[0] + "\n" if file.exists() else ""
        return lines

    def test_what_is_missing_is_said(self):
        tools = self.folder / "bin"
        tools.mkdir()
        for tool in ["bash", "env", "dirname", "realpath", "id", "mpirun", "tc"]:
            (tools / tool).symlink_to(shutil.which(tool))
        self.assertEqual(two_hosts("--", "list", PATH=str(tools)), (77, "", "two_hosts.sh: there is no 'ip' (Debian: iproute2, util-linux, openmpi-bin)\n"))
        self.assertEqual(two_hosts("run")[0], 2)


if __name__ == "__main__":
    code, _, error = two_hosts("--", "--version")
    if code == 77:
        print(f"skipped: {error.strip()}")
        sys.exit(77)
    main()
