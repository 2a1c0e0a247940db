# PyTorch's own schedules against ours: torch.distributed.pipelining, from the wheel that LibTorch comes in.
"""The wheel's schedules.py is run with stand-ins for what it imports: it needs them to train, not to
order. What it generates must be what `export` writes, and it must accept and lower what we write."""

import csv
import importlib.util
import io
import json
import os
import pathlib
import sys
import types

from program import InFolder, main, needs_torch, run

CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "bubblescope"
FILE = next(iter(sorted(CACHE.glob("libtorch-*/torch/distributed/pipelining/schedules.py"))), None)


def any_name(_, name):
    if name.startswith("__"):
        raise AttributeError(name)
    return AnyClass(name, (), {})


class AnyClass(type):
    """Of classes that have every name, as the module's annotations ask for."""

    __getattr__ = any_name


class StandIn(types.ModuleType):
    """A module that has every name."""

    __getattr__ = any_name


def load():
    package = types.ModuleType("pipelining")
    package.__path__ = [str(FILE.parent)]
    stand_ins = ["torch", "torch.distributed", "torch._dynamo", "torch.distributed.fsdp", "torch.nn", "torch.nn.modules", "torch.nn.modules.loss", "torch.profiler",
                 "pipelining.microbatch", "pipelining.stage"]
    sys.modules["pipelining"] = package
    for name in stand_ins:
        sys.modules[name] = StandIn(name)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, sys.modules[name])
    spec = importlib.util.spec_from_file_location("pipelining.schedules", FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def text(rows):
    return [[str(action) for action in rows[rank] if action is not None] for rank in sorted(rows)]


def ours(schedule, p, m, *options, form="torch-csv"):
    answer = run("export", "--schedule", schedule, "--ranks", p, "--microbatches", m, *options, "--as", form)
    assert answer.returncode == 0, answer.stderr
    return [[cell for cell in row if cell] for row in csv.reader(io.StringIO(answer.stdout))]


def without_order_of_reshards(rows):
    """PyTorch reshards several stages at once in the order of a hash table."""
    result = []
    for row in rows:
        result.append([])
        run = []
        for cell in [*row, None]:
            if cell is not None and cell.endswith("RESHARD") and not cell.endswith("UNSHARD"):
                run.append(cell)
                continue
            result[-1] += sorted(run) + ([cell] if cell else [])
            run = []
    return result


@needs_torch
class PyTorch(InFolder):
    @classmethod
    def setUpClass(cls):
        cls.torch = load()

    def theirs(self, name, p, m, v=1):
        """The compute order of one of PyTorch's schedule classes for all ranks, without its idle slots."""
        made = getattr(self.torch, name)
        schedule = made.__new__(made)
        schedule.pp_group_size, schedule._n_microbatches, schedule._stages = p, m, [None] * v
        schedule.n_local_stages, schedule._num_stages, schedule.num_stages, schedule.rank = v, p * v, p * v, 0
        schedule.number_of_rounds = max(1, m // p)
        schedule.microbatches_per_round = m // schedule.number_of_rounds
        schedule.stage_index_to_group_rank = {s: s if s < p else 2 * p - 1 - s for s in range(2 * p)}
        if hasattr(schedule, "_get_pipeline_order"):
            return [[cell for cell in row if not cell.endswith("REDUCE_GRAD")] for row in text(schedule._get_pipeline_order())]
        schedule.pipeline_order = {rank: schedule._calculate_single_rank_operations(rank) for rank in range(p)}
        if hasattr(schedule, "_add_bubbles_to_actions"):
            schedule.pipeline_order = schedule._add_bubbles_to_actions(p * v)
        return text(schedule.pipeline_order)

    def actions(self, rows):
        return {rank: [self.torch._Action.from_str(cell) for cell in row] for rank, row in enumerate(rows)}

    # The shapes of PyTorch's own sweeps (test_schedule.py): stages per rank, microbatches, ranks.
    SHAPES = [(2, 2, 2), (2, 4, 4), (2, 8, 2), (2, 8, 4), (2, 8, 8), (4, 4, 4), (4, 8, 4), (4, 8, 8), (4, 16, 4), (4, 32, 4), (4, 64, 4), (4, 16, 16), (4, 32, 32),
              (4, 128, 64), (3, 2, 2), (3, 8, 2), (3, 12, 4), (4, 6, 3), (4, 10, 5), (1, 8, 4), (1, 3, 4), (2, 3, 4), (2, 5, 4), (5, 7, 4)]

    def test_looped_orders_are_theirs(self):
        for v, m, p in self.SHAPES:
            for name, schedule in [("ScheduleInterleaved1F1B", "interleaved-1f1b"), ("ScheduleInterleavedZeroBubble", "interleaved-zb"), ("ScheduleLoopedBFS", "looped-bfs")]:
                with self.subTest(schedule=schedule, v=v, m=m, p=p):
                    self.assertEqual(ours(schedule, p, m, "--chunks", v), self.theirs(name, p, m, v))

    def test_orders_with_one_stage_per_rank_are_theirs(self):
        for m, p in [(1, 1), (2, 4), (4, 4), (8, 4), (5, 3), (16, 8)]:
            with self.subTest(m=m, p=p):
                self.assertEqual(ours("gpipe", p, m), self.theirs("ScheduleGPipe", p, m))
                self.assertEqual(ours("zb1p", p, m), self.theirs("ScheduleInterleavedZeroBubble", p, m))

    def test_1f1b_is_theirs_but_for_the_last_rank(self):
        # PyTorch lists the last rank's forwards first; it runs them one by one, as the paper does.
        for m, p in [(4, 4), (8, 4), (16, 8)]:
            self.assertEqual(ours("1f1b", p, m)[:-1], self.theirs("Schedule1F1B", p, m)[:-1])

    def test_v_shaped_orders_are_theirs(self):
        for m, p in [(1, 2), (3, 2), (4, 2), (4, 4), (8, 4), (10, 4), (20, 4), (32, 8), (5, 8)]:
            with self.subTest(m=m, p=p):
                self.assertEqual(ours("zbv", p, m), self.theirs("ScheduleZBVZeroBubble", p, m, 2))
                if m >= 2 * p:
                    self.assertEqual(ours("dualpipev", p, m), self.theirs("ScheduleDualPipeV", p, m, 2))

    def test_they_accept_and_lower_what_we_write(self):
        listed = run("list", "schedules", "--json")
        self.assertEqual(listed.returncode, 0, listed.stderr)
        checked = 0
        for p, m in [(2, 4), (4, 8), (3, 6), (4, 10)]:
            for entry in json.loads(listed.stdout)["schedules"]:
                name = entry["name"]
                answer = run("export", "--schedule", name, "--ranks", p, "--microbatches", m, "--as", "torch-csv")
                if answer.returncode != 0:
                    self.assertRegex(answer.stderr, "PyTorch|expected", name)
                    continue
                rows = ours(name, p, m)
                stages = 1 + max(action.stage_index if action.sub_actions is None else max(part.stage_index for part in action.sub_actions)
                                 for row in self.actions(rows).values() for action in row)
                with self.subTest(schedule=name, p=p, m=m):
                    ranks = self.torch._validate_schedule(self.actions(rows), p, stages, m)
                    lowered = self.torch._add_send_recv(self.actions(rows), stage_to_rank=lambda s: ranks[s], num_stages=stages)
                    if name != "deepspeed":  # it has an order of transfers of its own
                        self.assertEqual(ours(name, p, m, form="torch-comms-csv"), text(lowered))
                    checked += 1
        self.assertGreater(checked, 40)

    def test_programs_lowered_for_sharded_parameters_are_theirs(self):
        for schedule, p, m, *options in [("gpipe", 4, 8), ("interleaved-1f1b", 4, 16, "--chunks", 4), ("interleaved-zb", 2, 6, "--chunks", 3), ("looped-bfs", 4, 8, "--chunks", 4),
                                         ("zbv", 4, 8), ("dualpipev", 4, 10), ("zb1p", 4, 8)]:
            for active in [1, 2, 3, 4]:
                with self.subTest(schedule=schedule, p=p, m=m, active=active):
                    theirs = {rank: self.torch._merge_bw(row) for rank, row in self.actions(ours(schedule, p, m, *options)).items()}
                    stages = 1 + max(action.stage_index for row in theirs.values() for action in row)
                    ranks = self.torch._validate_schedule(theirs, p, stages, m)
                    theirs = {rank: self.torch._add_reduce_grad(self.torch._add_unshard_reshard(row, active), m) for rank, row in theirs.items()}
                    theirs = self.torch._add_send_recv(theirs, stage_to_rank=lambda s: ranks[s], num_stages=stages)
                    mine = ours(schedule, p, m, *options, "--lower", f"merge-backward,reduce-grad,unshard={active}", form="torch-comms-csv")
                    self.assertEqual(without_order_of_reshards(mine), without_order_of_reshards(text(theirs)))


if __name__ == "__main__":
    main()
