# srun and bench/cluster/job.sbatch under a Slurm of this script's own, with two nodes on this machine.
"""Skipped (77, with the reason) where there is no Slurm, or its daemons cannot be started (they need root)."""

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from mpirun import end_with_parent, environment, why_not
from program import PROGRAM, SOURCE, InFolder, files_of, main, needs_torch, run
from scenarios import mlp, null

DAEMONS = ["munged", "slurmctld", "slurmd"]
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
TmpFS={folder}/temporary.%n
SlurmctldPidFile={folder}/controller.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/controller.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/linear
NodeName=n0 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs={cores}
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs={cores}
PartitionName=all Nodes=n0,n1 Default=YES
"""


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Slurm:
    """Two nodes, each with all cores of this machine."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="bubblescope-slurm-"))
        self.daemons = []
        for name in ["state", "spool.n0", "spool.n1", "temporary.n0", "temporary.n1"]:
            (self.folder / name).mkdir()
        settings = self.folder / "slurm.conf"
        settings.write_text(CONFIGURATION.format(host=socket.gethostname().split(".")[0], folder=self.folder, ports=free_ports(3), cores=os.cpu_count()))
        self.variables = environment(SLURM_CONF=str(settings))

    def start(self):
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        parts = {name: self.folder / f"munge.{name}" for name in ["socket", "pid", "log", "seed"]}
        self.begin("munged", "--foreground", "--force", f"--key-file={key}", *[f"--{name}{'' if name == 'socket' else '-file'}={file}" for name, file in parts.items()])
        while not parts["socket"].exists():
            self.still_there()
        self.begin("slurmctld", "-D")
        for node in ["n0", "n1"]:
            self.begin("slurmd", "-D", "-N", node)
        while self.ask("sinfo", "--noheader", "--states=idle", "--format=%D").strip() != "2":
            self.still_there()

    def begin(self, *command):
        self.daemons.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=self.variables, preexec_fn=end_with_parent))
        self.since = time.monotonic()

    def still_there(self):
        ended = [daemon.args[0] for daemon in self.daemons if daemon.poll() is not None]
        if ended or time.monotonic() - self.since > 30:
            raise RuntimeError(f"{', '.join(ended) or 'Slurm'} does not start")
        time.sleep(0.05)

    def ask(self, *command):
        return subprocess.run(command, capture_output=True, text=True, timeout=60, env=self.variables).stdout

    def end(self):
        for daemon in reversed(self.daemons):
            daemon.terminate()
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class UnderSlurm(InFolder):
    def srun(self, *arguments):
        command = ["srun", "--mpi=pmix", "--nodes=2", "--ntasks=2", "--kill-on-bad-exit=1", PROGRAM, *arguments]
        return subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=slurm.variables, cwd=self.folder, preexec_fn=end_with_parent)

    def submit(self, scenario, *options):
        """What `sbatch` returned once the job was over, and what the job said."""
        log = self.folder / "job.log"
        command = ["sbatch", "--wait", f"--output={log}", f"--export=ALL,BUBBLESCOPE={PROGRAM},SCENARIO={scenario},OUT={self.folder / 'out'}", *options, SOURCE / "bench/cluster/job.sbatch"]
        answer = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=300, env=slurm.variables, cwd=self.folder)
        return answer.returncode, log.read_text() if log.exists() else answer.stderr

    def test_srun_starts_the_processes_of_one_job(self):
        out = self.folder / "out"
        job = self.srun("run", self.write("s.toml", null('name = "gpipe"\nmicrobatches = 4', ranks=4)), "--out", out)
        output, error = job.communicate(timeout=120)
        self.assertEqual((job.returncode, error), (0, ""), output)
        self.assertIn("2 processes over MPI, 2 ranks each.", json.loads((out / "run.json").read_text())["notes"])

    def test_an_error_is_told_once(self):
        job = self.srun("run", self.write("s.toml", null('name = "gpipe"\nmicrobatches = 4', ranks=3)))
        error = job.communicate(timeout=120)[1]
        self.assertEqual(len(re.findall("3 ranks cannot be shared evenly among 2 processes", error)), 1, error)
        self.assertNotEqual(job.returncode, 0)

    def test_a_process_that_is_killed_is_named(self):
        job = self.srun("run", self.write("s.toml", null('name = "gpipe"\nmicrobatches = 4', forward="30ms", repeats=50)), "--out", self.folder / "out")
        while not (self.folder / "out/run.json").exists():  # the first round is over
            self.assertIsNone(job.poll())
            time.sleep(0.02)
        (victim,) = [int(folder.name) for folder in pathlib.Path("/proc").glob("[0-9]*") if self.is_second(folder)]
        begin = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        error = job.communicate(timeout=60)[1]
        self.assertLess(time.monotonic() - begin, 10)
        self.assertNotEqual(job.returncode, 0)
        self.assertRegex(error, r"process 1 \(host \S+, rank 1\) was killed or has ended; ")

    def is_second(self, folder):
        try:
            variables = (folder / "environ").read_bytes().split(b"\0")
            return f"SLURM_CONF={slurm.folder / 'slurm.conf'}".encode() in variables and b"SLURM_PROCID=1" in variables and (folder / "comm").read_text().startswith("bubblescope")
        except OSError:
            return False

    @needs_torch
    def test_a_batch_job_that_is_ended_goes_on_when_it_is_given_again(self):
        scenario = self.write("s.toml", mlp('name = "ppll"', epochs=400, checkpoint_every=40).replace("repeats = 2", "repeats = 1"))
        log = self.folder / "out/training/ppll.training.json"
        command = ["sh", "-c", f'while [ ! -e "{log}" ]; do sleep 0.05; done; scancel --signal=TERM --name=bubblescope']
        ending = subprocess.Popen(command, env=slurm.variables, preexec_fn=end_with_parent)
        self.addCleanup(ending.kill)
        code, said = self.submit(scenario)
        self.assertNotEqual(code, 0, said)
        cut = json.loads(log.read_text())
        self.assertEqual(cut["status"], "interrupted", said)
        code, said = self.submit(scenario)
        self.assertEqual(code, 0, said)
        self.assertFalse(json.loads((self.folder / "out/measured/run.json").read_text())["partial"])
        one = self.folder / "one"
        self.assertEqual(run("run", scenario, "--train", "--out", one).returncode, 0)
        self.assertEqual(files_of(self.folder / "out/training"), files_of(one))
        for name in files_of(one):
            self.assertEqual((self.folder / "out/training" / name).read_bytes(), (one / name).read_bytes(), name)


def skipped(why):
    print(f"skipped: {why}")
    sys.exit(77)


if __name__ == "__main__":
    missing = [name for name in [*DAEMONS, "srun", "sbatch"] if shutil.which(name) is None]
    if missing:
        skipped(f"there is no {', '.join(missing)} (Debian: slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge)")
    if why_not():
        skipped(why_not())
    if os.geteuid() != 0:
        skipped("slurmd needs root")
    slurm = Slurm()
    try:
        try:
            slurm.start()
        except RuntimeError as error:
            skipped(str(error))
        main()
    finally:
        slurm.end()
