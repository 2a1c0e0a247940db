# Ranks on GPUs in several processes, as torchrun starts them: on machines with fewer GPUs than ranks, what is said instead.
"""What torchrun's workers say; torchrun itself is not needed, only what it tells them."""

import os
import pathlib
import subprocess
import unittest

from program import PROGRAM, InFolder, main
from scenarios import mlp

GPUS = len([file for file in pathlib.Path("/dev").glob("nvidia*") if file.name.removeprefix("nvidia").isdigit()])
WITH_CUDA = (PROGRAM.parent / "bubblescope-cuda").exists()
PORT = 20000 + os.getpid() % 20000


@unittest.skipUnless(WITH_CUDA, "this build has no CUDA backend (bubblescope-cuda)")
class Torchrun(InFolder):
    def on_each(self, text, *arguments, processes=2):
        """The first process's exit code and output, and the others' exit codes."""
        scenario = self.write("s.toml", text)
        base = {name: value for name, value in os.environ.items() if not name.startswith(("OMPI_", "PMIX_", "PMI_", "SLURM_", "TORCHELASTIC_"))}
        base |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(PORT), "WORLD_SIZE": str(processes), "TORCHELASTIC_RUN_ID": "test"}
        started = [subprocess.Popen([PROGRAM, "run", scenario, *arguments], env=base | {"RANK": str(p)}, cwd=self.folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                   for p in range(processes)]
        ended = [process.communicate(timeout=240) for process in started]
        return started[0].returncode, *ended[0], [process.returncode for process in started[1:]]

    def text(self, backend='name = "cuda"'):
        return mlp('name = "gpipe"\nmicrobatches = 2', ranks=2, depth=3) + f"\n[backend]\n{backend}\n"

    def test_too_few_gpus_are_told_by_all_processes_together(self):
        if GPUS >= 2:
            self.skipTest(f"there are {GPUS} GPUs")
        code, output, error, others = self.on_each(self.text())
        self.assertEqual((code, others), (2, [2]), error)
        expected = "processes 0 and 1" if GPUS == 1 else "process 0 (host "
        self.assertIn(expected, error)
        self.assertIn("would share a GPU" if GPUS == 1 else "its ranks need 1 GPU from GPU 0 on, and it finds none (no device, or no driver)", error)

    def test_ranks_that_must_share_a_process_are_refused_before_anybody_is_met(self):
        for backend, text in [('name = "cuda"\ndevices = "partitions"', 'with \'backend.devices = "partitions"\' all ranks share one GPU and one process, but torchrun has started 2'),
                              ('name = "cuda"\ngraphs = true', "CUDA graphs are for ranks of one process, but torchrun has started 2")]:
            code, _, error, others = self.on_each(self.text(backend))
            self.assertEqual((code, others), (2, [2]), error)
            self.assertIn(text, error)
        code, _, error, _ = self.on_each(self.text(), "--kernels")
        self.assertEqual(code, 2)
        self.assertIn("kernels are recorded of ranks of one process, but torchrun has started 2", error)

    def test_two_gpus_train_as_one_process_does(self):
        if GPUS < 2:
            self.skipTest(f"{GPUS} GPUs here; two processes need two: not tested on devices")
        code, output, error, others = self.on_each(self.text(), "--train", "--out", "two")
        self.assertEqual((code, others), (0, [0]), error)
        one = subprocess.run([PROGRAM, "run", "s.toml", "--train", "--out", "one"], cwd=self.folder, capture_output=True, text=True, timeout=240)
        self.assertEqual(one.returncode, 0, one.stderr)
        checkpoints = [next((self.folder / name).glob("*.checkpoint")) for name in ("one", "two")]
        self.assertEqual(checkpoints[0].read_bytes(), checkpoints[1].read_bytes())


if __name__ == "__main__":
    main()
