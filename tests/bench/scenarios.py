# Tiny scenarios for the scripts of this folder.
"""Texts of scenario files: `null` waits instead of computing, `mlp` really trains."""

NULL = """
[cluster]
ranks = {ranks}
channel = "{channel}"
[costs]
source = "uniform"
uniform = {{F = "{forward}", B = "{forward}", LB = "{forward}"}}
[training]
batch = 8
[backend]
name = "null"
[run]
iterations = 2
warmup = 0
repeats = {repeats}
"""

MLP = """
[model]
name = "mlp"
image = [3, 8, 8]
depth = {depth}
width = {width}
[data]
samples = 64
test_samples = 8
[training]
batch = 16
epochs = {epochs}
learning_rate = {rate}
checkpoint_every = {checkpoint_every}
[cluster]
ranks = {ranks}
{cluster}
[run]
iterations = 2
warmup = 0
repeats = 2
"""


def with_schedules(text, schedules):
    return text + "".join(f"[[schedule]]\n{schedule}\n" for schedule in schedules)


def null(*schedules, ranks=2, channel="async", forward="1ms", repeats=1):
    """`schedules`: what stands in each [[schedule]]."""
    return with_schedules(NULL.format(ranks=ranks, channel=channel, forward=forward, repeats=repeats), schedules)


def mlp(*schedules, ranks=2, depth=3, width=16, epochs=3, rate=0.01, checkpoint_every=0, cluster="", extra=""):
    """`cluster`: more lines of that section; `extra`: more sections. An epoch is 4 batches."""
    text = MLP.format(ranks=ranks, depth=depth, width=width, epochs=epochs, rate=rate, checkpoint_every=checkpoint_every, cluster=cluster)
    return with_schedules(text + extra, schedules)
