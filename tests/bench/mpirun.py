# What the scripts of this folder share about several processes: starting them with mpirun, and hurting one of them.
"""`Job` is the program under mpirun, at work; `mpirun` runs it to its end."""

import ctypes
import os
import pathlib
import shutil
import signal
import subprocess
import threading
import time
import unittest
import uuid

from program import PROGRAM

MARK = "BUBBLESCOPE_TEST_JOB"  # an environment variable that all processes of a job inherit
PATIENCE = 120  # seconds; only a hang reaches it
MODULE = "libbubblescope-mpi.so"
# Process 0's standard error on a terminal, where it shows what it is doing. The program keeps the script's id.
ON_TERMINAL = ["sh", "-c", 'if [ "$OMPI_COMM_WORLD_RANK" = 0 ]; then exec "$@" 2>"$BUBBLESCOPE_TERMINAL"; fi; exec "$@"', "sh"]


def why_not():
    """Why no job can be started here; empty: one can."""
    if shutil.which("mpirun") is None:
        return "there is no mpirun (Debian: openmpi-bin)"
    if not any((folder / MODULE).exists() for folder in [PROGRAM.parent, PROGRAM.parent / "lib"]):
        return f"there is no {MODULE} beside the program: this was built without MPI"
    return ""


needs_mpi = unittest.skipIf(why_not(), why_not())


def environment(**more):
    """Without what a launcher or an allocation around this script has set; mpirun may run as root."""
    launchers = ("OMPI_", "PMIX_", "PMI_", "SLURM_", "TORCHELASTIC_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(launchers)}
    # Half a test may be left behind by a kill: that is no leak.
    leaks = {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "detect_leaks=0")}
    return {**kept, **leaks, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", **more}


def end_with_parent():
    """mpirun, and with it the job, ends where this script is killed."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def marked(mark):
    """The processes of a job: id -> rank, None for mpirun itself."""
    found = {}
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            variables = dict(text.split("=", 1) for text in (folder / "environ").read_bytes().decode(errors="replace").split("\0") if "=" in text)
        except OSError:  # it has ended, or is another user's
            continue
        if variables.get(MARK) == mark:
            rank = variables.get("OMPI_COMM_WORLD_RANK")
            found[int(folder.name)] = None if rank is None else int(rank)
    return found


def has_joined(pid):
    """Whether it knows the others: it handles Ctrl-C from then on."""
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        return bool(int(status.split("SigCgt:")[1].split()[0], 16) >> (signal.SIGINT - 1) & 1)
    except (OSError, IndexError):  # it has ended
        return False


class Job:
    """`mpirun -n PROCESSES PROGRAM ARGUMENTS` at work, with environment `variables`. With `case`, a test, it is ended with that."""

    def __init__(self, processes, *arguments, case=None, terminal=False, program=(PROGRAM,), folder=None, **variables):
        self.mark = uuid.uuid4().hex
        self.said = {"out": "", "error": "", "terminal": ""}
        self.changed = threading.Condition()
        self.readers = []
        variables[MARK] = self.mark
        if terminal:
            master, other_end = os.openpty()
            variables["BUBBLESCOPE_TERMINAL"] = os.ttyname(other_end)
            program = [*ON_TERMINAL, *program]
        command = ["mpirun", "--oversubscribe", "-n", str(processes), *map(str, program), *map(str, arguments)]
        self.begin = time.monotonic()
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(**variables), cwd=folder, preexec_fn=end_with_parent)
        if case:
            case.addCleanup(self.close)
        self.read("out", self.process.stdout.fileno())
        self.read("error", self.process.stderr.fileno())
        if terminal:
            self.terminal = (master, other_end)
            self.read("terminal", master, joined=False)

    def read(self, name, file, joined=True):
        def collect():
            while True:
                try:
                    text = os.read(file, 65536)
                except OSError:  # the terminal is closed
                    text = b""
                if not text:
                    return
                with self.changed:
                    self.said[name] += text.decode(errors="replace")
                    self.changed.notify_all()
        reader = threading.Thread(target=collect, daemon=True)
        reader.start()
        if joined:
            self.readers.append(reader)

    def wait_for(self, text, patience=PATIENCE):
        """Returns once any process has said `text`."""
        end = time.monotonic() + patience
        found = lambda: any(text in said for said in self.said.values())
        with self.changed:
            while not found():
                running = self.process.poll() is None
                assert running and time.monotonic() < end, f"'{text}' was not said: {self.said}"
                self.changed.wait(0.1)
        return self

    def pids(self):
        """Rank -> process."""
        return {rank: pid for pid, rank in marked(self.mark).items() if rank is not None}

    def send(self, number, rank=None):
        """A signal to the process with that rank among the launched ones, or to mpirun."""
        if rank is None:
            self.process.send_signal(number)
        else:
            os.kill(self.pids()[rank], number)
        self.sent = time.monotonic()
        return self

    def others_ended(self, rank, patience=30):
        """Seconds from the signal until all processes but that one have ended."""
        while set(self.pids()) - {rank}:
            assert time.monotonic() < self.sent + patience, f"others are still at work after {patience} s: {self.said}"
            time.sleep(0.02)
        return time.monotonic() - self.sent

    def ended(self, patience=PATIENCE):
        """Exit code, standard output and standard error, without mpirun's own words."""
        code = self.process.wait(patience)
        for reader in self.readers:
            reader.join(10)
        self.seconds = time.monotonic() - self.begin
        lines = (self.said["error"] + self.said["terminal"].replace("\r\033[K", "\n")).replace("\r", "").splitlines()
        return code, self.said["out"].replace("\r", ""), "".join(f"{line}\n" for line in lines if line.startswith("bubblescope"))

    def close(self):
        """Ends what is left of it."""
        for _ in range(100):
            left = marked(self.mark)
            if not left:
                break
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            self.process.poll()
            time.sleep(0.05)
        self.process.wait(10)
        self.process.stdout.close()
        self.process.stderr.close()
        for file in self.__dict__.pop("terminal", ()):
            os.close(file)


def mpirun(case, processes, *arguments, **options):
    """Runs it to its end: exit code, standard output, standard error."""
    job = Job(processes, *arguments, case=case, **options)
    return job.ended()
