#!/usr/bin/env python3
# Times the same training steps with plain PyTorch.
"""The same training steps with plain PyTorch, to hold our speed against: local learning stage by stage on one device,
and 1F1B with torch.distributed.pipelining on one process per stage.

    pip install torch==2.11.0
    bench/peers/pytorch.py vit --batch 64 --stages 2
    bench/peers/pytorch.py resnet32 --batch 64 --stages 2 --compile
    bench/peers/pytorch.py vit --stages 2 --microbatches 4 --pipeline

Prints one JSON object: milliseconds per batch, median and quartiles. Models, auxiliary networks and optimizers are those
of scenarios/cpu2 (ResNet: the DGL network in AugLocal's form, SGD with Nesterov momentum; ViT: layer norm, class token,
linear, AdamW). Inputs are random; both sides are timed without loading data."""

import argparse
import json
import math
import os
import statistics
import time

import torch
import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    """A transformer block: attention and MLP, each after a layer norm and added to what came in."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x):
        batch, tokens, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(batch, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        x = x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, tokens, width))
        return x + self.mlp(self.norm2(x))


class Embed(nn.Module):
    def __init__(self, image, patch, width):
        super().__init__()
        self.patch = nn.Conv2d(3, width, patch, patch)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.zeros(1, (image // patch) ** 2 + 1, width))

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        return torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.positions


class TokenHead(nn.Module):
    def __init__(self, width, classes):
        super().__init__()
        self.norm, self.linear = nn.LayerNorm(width, eps=1e-6), nn.Linear(width, classes)

    def forward(self, x):
        return self.linear(self.norm(x)[:, 0])


class BasicBlock(nn.Module):
    def __init__(self, inputs, channels, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, channels, 3, stride, 1, bias=False), nn.BatchNorm2d(channels)
        self.conv2, self.bn2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels)
        self.short = nn.Identity() if stride == 1 and inputs == channels else nn.Sequential(nn.Conv2d(inputs, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.short(x))


def vit(image=32, patch=8, depth=12, width=192, heads=3, classes=10):
    layers = [Embed(image, patch, width), *[Block(width, heads) for _ in range(depth)], TokenHead(width, classes)]
    return layers, lambda x: TokenHead(x.shape[-1], classes)


def resnet(depth, classes=10):
    layers = [nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())]
    inputs = 16
    for stage, channels in enumerate([16, 32, 64]):
        for block in range((depth - 2) // 6):
            layers.append(BasicBlock(inputs, channels, 2 if stage > 0 and block == 0 else 1))
            inputs = channels
    layers.append(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes)))

    def auxiliary(x):
        channels = x.shape[1]
        ones = [nn.Sequential(nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()) for _ in range(3)]
        wide = 4 * channels
        hidden = [nn.Sequential(nn.Linear(wide, wide), nn.BatchNorm1d(wide), nn.ReLU()) for _ in range(2)]
        return nn.Sequential(nn.AdaptiveAvgPool2d(math.ceil(x.shape[-1] / 4)), *ones, nn.AdaptiveAvgPool2d(2), nn.Flatten(), *hidden, nn.Linear(wide, classes))

    return layers, auxiliary


def build(name):
    torch.manual_seed(1)
    return vit() if name == "vit" else resnet(int(name.removeprefix("resnet")))


def cut(layers, stages):
    """Equal numbers of layers, the remainder in front."""
    sizes = [len(layers) // stages + (i < len(layers) % stages) for i in range(stages)]
    return [nn.Sequential(*layers[sum(sizes[:i]):sum(sizes[:i + 1])]) for i in range(stages)]


def optimizer(name, parameters):
    if name == "vit":
        return torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.05)
    return torch.optim.SGD(parameters, lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-4)


def timed(step, device, repeats):
    times = []
    for i in range(repeats + 3):
        if device.type == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        if i >= 3:
            times.append(1e3 * (time.perf_counter() - start))
    first, _, third = statistics.quantiles(times, n=4)
    return {"median_ms": statistics.median(times), "quartiles_ms": [first, third], "repeats": repeats}


def local_step(args, device):
    """Every stage forward, its loss backward and its update, one stage after the other: sequential local learning."""
    layers, make_auxiliary = build(args.model)
    stages = [stage.to(device) for stage in cut(layers, args.stages)]
    images = torch.randn(args.batch, 3, 32, 32, device=device)
    labels = torch.randint(10, (args.batch,), device=device)
    heads, x = [], images
    with torch.no_grad():
        for stage in stages:
            x = stage(x)
            heads.append(make_auxiliary(x).to(device) if stage is not stages[-1] else nn.Identity())
    optimizers = [optimizer(args.model, [*stage.parameters(), *head.parameters()]) for stage, head in zip(stages, heads)]
    if args.compile:
        stages, heads = [torch.compile(stage) for stage in stages], [torch.compile(head) for head in heads]

    def step():
        x = images
        for stage, head, update in zip(stages, heads, optimizers):
            with torch.autocast(device.type, torch.bfloat16, enabled=args.bf16):
                y = stage(x)
                loss = F.cross_entropy(head(y), labels)
            loss.backward()
            update.step()
            update.zero_grad(set_to_none=True)
            x = y.detach()

    return timed(step, device, args.repeats)


def pipeline_rank(rank, args, results):
    from torch.distributed.pipelining import PipelineStage, Schedule1F1B

    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(args.port))
    torch.set_num_threads(args.threads)
    device = torch.device(args.device, rank) if args.device == "cuda" else torch.device("cpu")
    if args.device == "cuda":
        torch.cuda.set_device(device)
    torch.distributed.init_process_group("nccl" if args.device == "cuda" else "gloo", rank=rank, world_size=args.stages)
    layers, _ = build(args.model)
    module = cut(layers, args.stages)[rank].to(device)
    schedule = Schedule1F1B(PipelineStage(module, rank, args.stages, device), args.microbatches, loss_fn=F.cross_entropy)
    update = optimizer(args.model, module.parameters())
    if args.compile:
        module.compile()
    images, labels = torch.randn(args.batch, 3, 32, 32, device=device), torch.randint(10, (args.batch,), device=device)

    def step():
        with torch.autocast(device.type, torch.bfloat16, enabled=args.bf16):
            schedule.step(*([images] if rank == 0 else []), **({"target": labels} if rank == args.stages - 1 else {}))
        update.step()
        update.zero_grad(set_to_none=True)
        torch.distributed.barrier()

    found = timed(step, device, args.repeats)
    if rank == 0:
        results.put(found)
    torch.distributed.destroy_process_group()


def pipeline_step(args):
    context = torch.multiprocessing.get_context("spawn")
    results = context.SimpleQueue()
    torch.multiprocessing.spawn(pipeline_rank, (args, results), nprocs=args.stages)
    return results.get()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=["vit", "resnet20", "resnet32", "resnet56", "resnet110"])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--stages", type=int, default=2)
    parser.add_argument("--microbatches", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1, help="of each process")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--port", type=int, default=29511)
    parser.add_argument("--pipeline", action="store_true", help="1F1B, one process per stage (gloo; cuda: nccl)")
    parser.add_argument("--compile", action="store_true", help="torch.compile the stages")
    parser.add_argument("--bf16", action="store_true", help="bfloat16 autocast")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    found = pipeline_step(args) if args.pipeline else local_step(args, torch.device(args.device))
    what = "1f1b" if args.pipeline else "sequential-local"
    print(json.dumps({"what": what, "torch": torch.__version__, **{k: v for k, v in vars(args).items() if k not in ("port", "pipeline")}, **found}))


if __name__ == "__main__":
    main()
