#!/usr/bin/env python3
"""Which assumptions reproduce the speed-ups of PPLL's abstract? Sweeps them with `bubblescope predict`.

    nice -n 15 reports/ppll-abstract/sweep.py build/release/bubblescope   # predicts: sweep.csv, README.md
    reports/ppll-abstract/sweep.py                                        # README.md from sweep.csv

One process, standard library only. A row of sweep.csv is one point: a model, an auxiliary network and a
machine; the columns from `ppll` on are times per batch in microseconds (`period_ns`, the steady state).
"""

import csv
import itertools
import json
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
SEEDS = HERE.parent.parent / "scenarios" / "seeds"
PUBLISHED = {"vit": (2.62, 1.25), "resnet": (1.33, 0.85)}  # PPLL / local learning, PPLL / pipeline; arXiv 2411.12780
TOLERANCE = 0.10
MICROBATCHES = [1, 2, 4, 8, 16, 32]
BASELINES = ["one_device", "serial", "overlapped"]
PIPELINES = ["gpipe", "1f1b"]

AUXILIARIES = {
    "vit": [("greedy", 0), ("greedy", 1), ("greedy", 2)],
    "resnet": [("greedy", 0), ("dgl", 0), ("dgl-cnn", 0), ("dgl-man", 0), ("infopro", 0), ("infopro-2c2f", 0),
               ("predsim", 0), ("auglocal", 1), ("glcan", 0)],
}
BATCHES = [128, 1024]
HOSTS = [(0, 0), (5, 0), (5, 1), (20, 0), (20, 1)]  # launch in us, run_ahead in ops (0: any number)
LINKS = [10, 4]                                     # GB/s
STAGING = [0, 8, 4, 3, 2]                           # GB/s; 0: queues use the link and hold nobody
ROOFLINES = [(0.1, 1.0), (0.4, 1.0), (0.8, 0.4)]    # shares of peak FLOP/s and of memory bandwidth

MACHINE = ["launch_us", "run_ahead", "link", "staging", "efficiency", "memory_efficiency"]
POINT = ["model", "auxiliary", "blocks", "batch"] + MACHINE
TIMES = ["ppll"] + BASELINES + ["naive"] + [f"{pipeline}_{m}" for pipeline in PIPELINES for m in MICROBATCHES]


def points():
    machines = [(*host, link, staging, *roofline) for host, link, staging, roofline in itertools.product(HOSTS, LINKS, STAGING, ROOFLINES)]
    for model in PUBLISHED:
        for (auxiliary, blocks), batch, machine in itertools.product(AUXILIARIES[model], BATCHES, machines):
            yield dict(zip(POINT, (model, auxiliary, blocks, batch, *machine)))


class Predictor:
    """Runs the program; what does not depend on all of a point is asked once."""

    def __init__(self, program):
        self.program = program
        self.known = {}

    def ask(self, model, schedules, settings):
        command = [self.program, "predict", str(SEEDS / f"ppll_{model}_4gpu.toml"), "--json", "--schedule", schedules]
        for key, value in settings.items():
            command += ["--set", f"{key}={value}"]
        key = tuple(command)
        if key not in self.known:
            answer = subprocess.run(command, capture_output=True, text=True, check=False)
            if answer.returncode != 0:
                raise SystemExit(f"{' '.join(command)}\n{answer.stderr}")
            self.known[key] = [round(result["period_ns"] / 1000) for result in json.loads(answer.stdout)["results"]]
        return self.known[key]

    def times(self, point):
        model = point["model"]
        host = {"training.batch": point["batch"], "cluster.launch": f"{point['launch_us']}us", "cluster.run_ahead": point["run_ahead"],
                "cluster.efficiency": point["efficiency"], "cluster.memory_efficiency": point["memory_efficiency"]}
        link = {"cluster.bandwidth": f"{point['link']}GB/s"}
        local = {"auxiliary.name": point["auxiliary"], "auxiliary.blocks": point["blocks"]}
        staging = {"cluster.staging": f"{point['staging']}GB/s"}
        one = {"cluster.ranks": 1, "schedule.sequential-local.chunks": 4}
        times = dict(zip(["ppll", "serial", "overlapped"], self.ask(model, "ppll,sequential-local", {**host, **link, **local, **staging})))
        times["one_device"] = self.ask(model, "sequential-local", {**host, **local, **one})[0]
        times["naive"] = self.ask(model, "naive", {**host, **link})[0]
        for m in MICROBATCHES:
            counts = {f"schedule.{pipeline}.microbatches": m for pipeline in PIPELINES}
            for pipeline, time in zip(PIPELINES, self.ask(model, ",".join(PIPELINES), {**host, **link, **counts})):
                times[f"{pipeline}_{m}"] = time
        return times


def read_rows(file=HERE / "sweep.csv"):
    with open(file, newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(line for line in stream if not line.startswith("#")))
    for row in rows:
        for name, value in row.items():
            if name not in ("model", "auxiliary"):
                row[name] = float(value) if "." in value else int(value)
    return rows


def ratios(row, baseline, pipeline, m):
    return row[baseline] / row["ppll"], row[f"{pipeline}_{m}"] / row["ppll"]


def miss(row, baseline, pipeline, m):
    """The larger relative deviation of the two ratios from the published ones."""
    return max(abs(ours / published - 1) for ours, published in zip(ratios(row, baseline, pipeline, m), PUBLISHED[row["model"]]))


def choices():
    return itertools.product(BASELINES, PIPELINES, MICROBATCHES)


def machine_of(row):
    return tuple(row[name] for name in MACHINE)


def common_points(rows, same_batch=False):
    """(miss, machine, choice, rows by model), nearest first: one machine, one baseline, one pipeline and one M for
    both models; auxiliary network and batch may differ (the batch not where `same_batch`)."""
    groups = {}
    for row in rows:
        groups.setdefault((machine_of(row), row["batch"] if same_batch else None), {}).setdefault(row["model"], []).append(row)
    found = []
    for (machine, _), models in groups.items():
        for choice in choices():
            best = {model: min(models[model], key=lambda row: miss(row, *choice)) for model in PUBLISHED}
            found.append((max(miss(row, *choice) for row in best.values()), machine, choice, best))
    return sorted(found, key=lambda one: one[0])


def seed_row(rows, model):
    """The scenario as it stands."""
    auxiliary, batch = {"vit": ("greedy", 128), "resnet": ("dgl-man", 1024)}[model]
    wanted = {"model": model, "auxiliary": auxiliary, "blocks": 0, "batch": batch, "launch_us": 5, "run_ahead": 0,
              "link": 10, "staging": 0, "efficiency": 0.4, "memory_efficiency": 1.0}
    return next(row for row in rows if all(row[name] == value for name, value in wanted.items()))


NAMES = {"vit": "ViT", "resnet": "ResNet", "gpipe": "GPipe", "1f1b": "1F1B", "one_device": "on one GPU", "serial": "serial over 4 GPUs",
         "overlapped": "overlapped over 4 GPUs"}


def quoted(rows):
    """(what, row, (baseline, pipeline, M)) of every line of the table in the project's README."""
    lines = [("as the scenario stands", seed_row(rows, model), ("serial", "gpipe", 4)) for model in PUBLISHED]
    _, _, choice, best = common_points(rows)[0]
    return lines + [("nearest common machine", best[model], choice) for model in PUBLISHED]


def auxiliary_text(row):
    what = "depth" if row["auxiliary"] == "auglocal" else "extra blocks"
    return row["auxiliary"] + (f" ({what}: {row['blocks']})" if row["blocks"] else "")


def machine_text(machine):
    launch, run_ahead, link, staging, efficiency, memory = machine
    host = f"{launch} us per launch, host {'waits for every op' if run_ahead else 'runs ahead'}" if launch else "launches cost nothing"
    queue = f"queues copy through host memory at {staging} GB/s" if staging else "queues use the link"
    return f"{host}; link {link} GB/s; {queue}; {efficiency:g} of the peak FLOP/s, {memory:g} of the memory bandwidth"


def line(what, row, choice):
    baseline, pipeline, m = choice
    local, pipe = ratios(row, *choice)
    published = PUBLISHED[row["model"]]
    return (f"| {NAMES[row['model']]} | {what} | {auxiliary_text(row)}, batch {row['batch']} | {NAMES[baseline]} | {NAMES[pipeline]}, M={m} | "
            f"{local:.2f}x | {published[0]:.2f}x | {pipe:.2f}x | {published[1]:.2f}x |")


HEAD = ("| model | assumptions | auxiliary network | local learning | pipeline | PPLL/local | published | PPLL/PP | published |\n"
        "|---|---|---|---|---|---|---|---|---|\n")


def table(rows):
    """The table in the project's README."""
    return HEAD + "\n".join(line(*quote) for quote in quoted(rows))


def nearest_table(common):
    """The nearest common machine for every baseline, and without each of the other hypotheses."""
    groups = [(f"baseline {NAMES[baseline]}", [one for one in common if one[2][0] == baseline]) for baseline in BASELINES]
    groups.append(("queues use the link", [one for one in common if one[1][3] == 0]))
    groups.append(("launches cost nothing", [one for one in common if one[1][0] == 0]))
    groups.append(("both of these: imbalance alone", [one for one in common if one[1][0] == 0 and one[1][3] == 0]))
    text = "| nearest with | miss | machine |\n|---|---|---|\n"
    lines = HEAD
    for what, group in groups:
        worst, machine, choice, best = group[0]
        text += f"| {what} | {100 * worst:.1f} % | {machine_text(machine)} |\n"
        lines += "".join(line(what, best[model], choice) + "\n" for model in PUBLISHED)
    return text + "\n" + lines


def region_table(names, hits, total):
    """How many hits each value of each dimension has."""
    text = f"| assumption | hits by value ({len(hits)} of {total}) |\n|---|---|\n"
    for name, values_of in names:
        counts = {}
        for hit in hits:
            counts[values_of(hit)] = counts.get(values_of(hit), 0) + 1
        text += f"| {name} | " + ", ".join(f"{value}: {counts[value]}" for value in sorted(counts)) + " |\n"
    return text


MACHINE_NAMES = ["launch (us)", "run_ahead (ops, 0: any)", "link (GB/s)", "staging (GB/s, 0: none)", "share of peak FLOP/s", "share of memory bandwidth"]
CHOICE_NAMES = ["local learning", "pipeline", "M"]


def model_region(rows, model):
    tried = [(row, choice) for row in rows if row["model"] == model for choice in choices()]
    hits = [(row, choice) for row, choice in tried if miss(row, *choice) <= TOLERANCE]
    names = [("auxiliary network", lambda hit: auxiliary_text(hit[0])), ("batch", lambda hit: hit[0]["batch"])]
    names += [(text, lambda hit, name=name: hit[0][name]) for text, name in zip(MACHINE_NAMES, MACHINE)]
    names += [(text, lambda hit, i=i: hit[1][i]) for i, text in enumerate(CHOICE_NAMES)]
    return region_table(names, hits, len(tried))


def common_region(common):
    hits = [one for one in common if one[0] <= TOLERANCE]
    names = [(text, lambda hit, i=i: hit[1][i]) for i, text in enumerate(MACHINE_NAMES)]
    names += [(text, lambda hit, i=i: hit[2][i]) for i, text in enumerate(CHOICE_NAMES)]
    return region_table(names, hits, len(common))


def report(rows):
    common = common_points(rows)
    text = (HERE / "README.in.md").read_text(encoding="utf-8")
    parts = {"quoted": table(rows), "nearest": nearest_table(common), "vit": model_region(rows, "vit"), "resnet": model_region(rows, "resnet"),
             "common": common_region(common), "same_batch": f"{sum(one[0] <= TOLERANCE for one in common_points(rows, same_batch=True))}",
             "machine": machine_text(common[0][1]), "points": f"{len(rows)}", "tolerance": f"{100 * TOLERANCE:.0f} %"}
    for name, part in parts.items():
        text = text.replace("{" + name + "}", part.strip())
    return text


if __name__ == "__main__":
    if len(sys.argv) > 1:
        predictor = Predictor(str(pathlib.Path(sys.argv[1]).resolve()))
        with open(HERE / "sweep.csv", "w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, POINT + TIMES, lineterminator="\n")
            writer.writeheader()
            for point in points():
                writer.writerow({**point, **predictor.times(point)})
    (HERE / "README.md").write_text(report(read_rows()), encoding="utf-8")
