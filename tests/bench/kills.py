# A training over several processes that is killed and stopped at random moments, and resumed with the same command
# until it is done: the others must end soon, and the weights must be those of an undisturbed run.
#   kills.py PROGRAM SOURCE_DIR KILLS SEED [--processes N] [--json FILE]
"""A line per kill, and exit code 1 where one went wrong."""

import argparse
import datetime
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from mpirun import Job, has_joined, why_not
from program import PROGRAM, SOURCE, WITH_TORCH, files_of, run
from scenarios import mlp

sys.path.insert(0, str(SOURCE / "bench"))
from machine import machine

LATEST = 2.5  # seconds after joining: checkpoints bring the next job to where this one was hurt
LIMIT = 10  # seconds within which all others must have ended
RANKS = 4
SCENARIO = mlp('name = "ppll"\nqueue = 1', 'name = "1f1b"\nmicrobatches = 4', ranks=RANKS, epochs=5, checkpoint_every=1, cluster='channel = "edge,capacity=1"')


class Campaign:
    def __init__(self, folder, arguments):
        self.folder, self.processes, self.random = folder, arguments.processes, random.Random(arguments.seed)
        self.scenario, self.out = folder / "s.toml", folder / "out"
        self.scenario.write_text(SCENARIO)
        self.command = ["run", self.scenario, "--train", "--resume", "--out", self.out]
        self.turns, self.kills, self.trainings, self.problems = [], [], 0, []
        one = folder / "one"
        answer = run("run", self.scenario, "--train", "--out", one)
        assert answer.returncode == 0, answer.stderr
        self.expected = {name: (one / name).read_bytes() for name in files_of(one)}

    def start(self):
        return Job(self.processes, *self.command)

    def wait_until_joined(self, job):
        """Whether all have; not: the job has ended."""
        while job.process.poll() is None:
            pids = job.pids()
            if len(pids) == self.processes and all(has_joined(pid) for pid in pids.values()):
                return True
            time.sleep(0.02)
        return False

    def undisturbed(self):
        """How long it takes from the start until all have joined, and from then on."""
        job = self.start()
        try:
            self.wait_until_joined(job)
            joined = time.monotonic()
            self.finish(*job.ended())
            return joined - job.begin, time.monotonic() - joined
        finally:
            job.close()

    def finish(self, code, output, error):
        """A job that has ended by itself: its files are the expected ones; the next begins anew."""
        found = {name: (self.out / name).read_bytes() for name in files_of(self.out)}
        differ = sorted(name for name in {*found, *self.expected} if found.get(name) != self.expected.get(name))
        if code != 0 or differ:
            self.problems.append(f"a training ended with {code}, other than undisturbed: {', '.join(differ) or 'nothing'}; {error.strip()}")
        self.trainings += 1
        shutil.rmtree(self.out)

    def hurt(self, starting, working):
        """One job and one signal, or none where it was through before."""
        early = self.random.random() < 0.1
        if not self.turns:  # every process is killed and stopped before one is once more
            self.turns = [(sign, victim) for sign in [signal.SIGKILL, signal.SIGSTOP] for victim in range(self.processes)]
            self.random.shuffle(self.turns)
        sign, victim = self.turns.pop()
        delay = self.random.uniform(0, starting if early else min(working, LATEST))
        job = self.start()
        try:
            if not early and not self.wait_until_joined(job):
                self.turns.append((sign, victim))
                return self.finish(*job.ended())
            end = time.monotonic() + delay
            while job.process.poll() is None and (time.monotonic() < end or victim not in job.pids()):
                time.sleep(0.01)
            try:
                job.send(sign, victim)
            except (KeyError, ProcessLookupError):
                self.turns.append((sign, victim))
                return self.finish(*job.ended())
            self.note(job, sign, victim, early, self.end_of(job, victim))
        finally:
            job.close()

    def end_of(self, job, victim):
        """Seconds until the others have ended; None: they have not."""
        try:
            return job.others_ended(victim, patience=3 * LIMIT)
        except AssertionError:
            return None

    def note(self, job, sign, victim, early, seconds):
        at = job.sent - job.begin
        said, code, alone = "", None, False
        if seconds is not None:
            try:
                code, _, error = job.ended(LIMIT)
            except subprocess.TimeoutExpired:  # the others were through: mpirun waits for the stopped one
                alone = True
                os.kill(job.pids()[victim], signal.SIGKILL)
                code, _, error = job.ended()
            said = next((line for line in error.splitlines() if f"process {victim} (host" in line or f"process {victim} was stopped" in line), "")
        done = all(self.is_done(name) for name in self.expected if name.endswith(".training.json"))
        phase = "starting" if early else "done" if done else "working"
        kill = {"signal": sign.name, "process": victim, "after_s": round(at, 2), "phase": phase, "ended_after_s": seconds and round(seconds, 2), "exit_code": code, "left_to_mpirun": alone, "message": said}
        problem = ""
        if seconds is None or seconds > LIMIT:
            problem = f"the others had not ended after {LIMIT} s"
        elif phase == "working" and not said:
            problem = f"nobody said that process {victim} was lost"
        elif phase == "working" and code == 0:
            problem = "the exit code was 0"
        if problem:
            self.problems.append(f"kill {len(self.kills) + 1}: {problem}")
        self.kills.append(kill)
        ended = "not ended" if seconds is None else f"ended after {seconds:.2f} s"
        print(f"{len(self.kills)}: {sign.name} process {victim} after {at:.2f} s ({phase}): {ended}: {said}{' !!! ' + problem if problem else ''}", flush=True)

    def is_done(self, name):
        try:
            return json.loads((self.out / name).read_text())["status"] == "complete"
        except (OSError, ValueError):
            return False

    def run(self, kills):
        starting, working = self.undisturbed()
        print(f"undisturbed: joined after {starting:.2f} s, done {working:.2f} s later", flush=True)
        while len(self.kills) < kills:
            self.hurt(starting, working)
        job = self.start()
        try:
            self.finish(*job.ended())
        finally:
            job.close()

    def summary(self):
        ended = [kill["ended_after_s"] for kill in self.kills if kill["ended_after_s"] is not None]
        by_signal = {name: [kill["ended_after_s"] for kill in self.kills if kill["signal"] == name and kill["ended_after_s"] is not None] for name in ["SIGKILL", "SIGSTOP"]}
        return {"kills": len(self.kills), "ended_within_limit": sum(seconds <= LIMIT for seconds in ended), "limit_s": LIMIT,
                "slowest_end_s": {name: max(all_of, default=None) for name, all_of in by_signal.items()},
                "named": sum(bool(kill["message"]) for kill in self.kills), "named_with_op": sum("in op" in kill["message"] for kill in self.kills),
                "while_starting": sum(kill["phase"] == "starting" for kill in self.kills), "trainings_completed": self.trainings, "problems": self.problems}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("source")
    parser.add_argument("kills", type=int)
    parser.add_argument("seed", type=int)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--json", type=pathlib.Path)
    arguments = parser.parse_args()
    reason = why_not() or ("" if WITH_TORCH else "this build has no LibTorch backend")
    if reason:
        print(f"skipped: {reason}")
        return 77
    with tempfile.TemporaryDirectory() as folder:
        campaign = Campaign(pathlib.Path(folder), arguments)
        campaign.run(arguments.kills)
    result = campaign.summary()
    print(json.dumps(result, indent=1))
    if arguments.json:
        command = f"tests/bench/kills.py build/{PROGRAM.parent.name}/bubblescope . {arguments.kills} {arguments.seed} --processes {arguments.processes}"
        about = {"date": datetime.date.today().isoformat(), "machine": machine(), "command": command}
        arguments.json.write_text(json.dumps({**about, "summary": result, "kills": campaign.kills}, indent=1) + "\n")
    return 1 if campaign.problems else 0


if __name__ == "__main__":
    sys.exit(main())
