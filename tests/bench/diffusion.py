"""Training and sampling speed of a preset: ours, and the same architecture in plain PyTorch, turn by turn on the same threads.

    cargo xtask bench diffusion [--preset digits8] [--threads 1] [--rounds 3] [--steps 20] [--blocks 2] [--set optimiser.batch=64]

Ours alone where PyTorch is not installed (PYTHON picks the interpreter). Both sides: the device that ours finds (CEDM_DEVICE=cpu keeps
both to the CPU), the preset's network, batch, dropout and precision (half precision by autocast on PyTorch's side), random images without augmentation, Adam, EMA, one forward and backward per round of a step; sampling with Heun's method
and a float64 state. PyTorch runs in both memory formats and with both of its Adams, and its faster one counts. Rounds alternate
between the sides, so that a busy machine slows both; the table gives the median step, the fastest, and the median by time spent
on processors, which other programs disturb least.
"""

import argparse
import contextlib
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import time

arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
arguments.add_argument("--preset", default="digits8")
arguments.add_argument("--threads", type=int, default=1)
arguments.add_argument("--rounds", type=int, default=3, help="turns of each side")
arguments.add_argument("--steps", type=int, default=20, help="training steps to time in each round")
arguments.add_argument("--blocks", type=int, default=2, help="blocks of images to sample in each round")
arguments.add_argument("--set", action="append", default=[], help="changes one setting of the preset")
options = arguments.parse_args()
for name in ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "CEDM_THREADS"]:
    os.environ[name] = str(options.threads)

program = os.path.join(os.environ.get("CEDM_BIN_DIR", "target/debug"), "cedm-trainer")
command = [program, "bench", "--preset", options.preset, "--steps", str(options.steps), "--blocks", str(options.blocks)]
for change in ["augment.p=0.0"] + options.set:
    command += ["--set", change]


def measure():
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{program} failed: {done.stderr}")
    return json.loads(done.stdout)


ours = measure()
if ours["network"]["embedding"] != "ddpmpp":
    print(json.dumps(ours, indent=2))
    sys.exit("the other side is a DDPM++: of an NCSN++, ours alone")
try:
    import torch
except (ImportError, OSError, ValueError) as error:
    print(json.dumps(ours, indent=2))
    sys.exit(f"no PyTorch in {sys.executable} ({error}): ours alone; set PYTHON to an interpreter that has it")

import torch.nn as nn
import torch.nn.functional as F

torch.set_num_threads(options.threads)
device, precision = torch.device("cuda" if ours["device"].startswith("cuda") else "cpu"), ours["precision"]
torch.set_default_device(device)
torch.backends.cudnn.benchmark = True
torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


def arithmetic():
    return torch.autocast(device.type, HALF[precision]) if precision in HALF else contextlib.nullcontext()


def finish():
    if device.type == "cuda":
        torch.cuda.synchronize()


network, batch = ours["network"], ours["batch"]
SCALE = math.sqrt(0.5)


def norm(channels):
    return nn.GroupNorm(min(32, channels // 4), channels, eps=1e-6)


class Block(nn.Module):
    def __init__(self, cin, cout, embedding, attention=False, resample=None, dropout=0.0):
        super().__init__()
        self.resample, self.dropout = resample, dropout
        self.norm0, self.norm1 = norm(cin), norm(cout)
        self.conv0, self.conv1 = nn.Conv2d(cin, cout, 3, padding=1), nn.Conv2d(cout, cout, 3, padding=1)
        self.affine = nn.Linear(embedding, cout)
        self.skip = nn.Conv2d(cin, cout, 1) if cin != cout or resample else None
        self.attention = attention
        if attention:
            self.norm2, self.qkv, self.proj = norm(cout), nn.Conv2d(cout, 3 * cout, 1), nn.Conv2d(cout, cout, 1)

    def change(self, x):
        if self.resample == "down":
            return F.avg_pool2d(x, 2)
        if self.resample == "up":
            return F.interpolate(x, scale_factor=2, mode="nearest")
        return x

    def forward(self, x, embedding):
        h = self.conv0(self.change(F.silu(self.norm0(x))))
        h = F.silu(self.norm1(h + self.affine(embedding)[:, :, None, None]))
        h = self.conv1(F.dropout(h, self.dropout, self.training))
        x = (h + (self.skip(self.change(x)) if self.skip else x)) * SCALE
        if self.attention:
            n, c, height, width = x.shape
            q, k, v = self.qkv(self.norm2(x)).reshape(n, c, 3, height * width).unbind(2)
            weights = torch.einsum("ncq,nck->nqk", q, k / math.sqrt(c)).softmax(dim=2)
            x = (self.proj(torch.einsum("nqk,nck->ncq", weights, v).reshape(x.shape)) + x) * SCALE
        return x


class UNet(nn.Module):
    def __init__(self, spec):
        super().__init__()
        width, levels = spec["model_channels"], spec["channel_mult"]
        noise, embedding = width * (spec.get("channel_mult_noise") or 1), width * spec["channel_mult_emb"]
        self.noise, self.label_dim = noise, spec["label_dim"]
        self.map_label = nn.Linear(spec["label_dim"], noise) if spec["label_dim"] else None
        self.map_augment = nn.Linear(spec["augment_dim"], noise, bias=False) if spec["augment_dim"] else None
        self.map_layer0, self.map_layer1 = nn.Linear(noise, embedding), nn.Linear(embedding, embedding)

        def block(cin, cout, attention=False, resample=None):
            return Block(cin, cout, embedding, attention, resample, spec["dropout"])

        self.first = nn.Conv2d(spec["channels"], width, 3, padding=1)
        self.encoder, self.decoder, skips, current = nn.ModuleList(), nn.ModuleList(), [width], width
        for level, mult in enumerate(levels):
            attention = spec["resolution"] >> level in spec["attn_resolutions"]
            if level:
                self.encoder.append(block(current, current, resample="down"))
                skips.append(current)
            for _ in range(spec["num_blocks"]):
                self.encoder.append(block(current, width * mult, attention))
                current = width * mult
                skips.append(current)
        for level, mult in reversed(list(enumerate(levels))):
            attention = spec["resolution"] >> level in spec["attn_resolutions"]
            if level == len(levels) - 1:
                self.decoder.extend([block(current, current, True), block(current, current)])
            else:
                self.decoder.append(block(current, current, resample="up"))
            for index in range(spec["num_blocks"] + 1):
                self.decoder.append(block(current + skips.pop(), width * mult, attention and index == spec["num_blocks"]))
                current = width * mult
        self.last_norm, self.last = norm(current), nn.Conv2d(current, spec["channels"], 3, padding=1)

    def forward(self, x, c_noise, labels):
        frequencies = 1e-4 ** (torch.arange(self.noise // 2) / (self.noise // 2 - 1))
        phases = c_noise[:, None] * frequencies
        embedding = torch.cat([phases.sin(), phases.cos()], 1)
        if self.map_label:
            embedding = embedding + self.map_label(labels * math.sqrt(self.label_dim))
        if self.map_augment:
            embedding = embedding + self.map_augment(torch.zeros(len(x), self.map_augment.in_features))
        embedding = F.silu(self.map_layer1(F.silu(self.map_layer0(embedding))))
        x = self.first(x)
        skips = [x]
        for block in self.encoder:
            x = block(x, embedding)
            skips.append(x)
        for block in self.decoder:
            if x.shape[1] != block.norm0.num_channels:
                x = torch.cat([x, skips.pop()], 1)
            x = block(x, embedding)
        return self.last(F.silu(self.last_norm(x)))


def denoise(net, x, sigma, labels):
    s = sigma.reshape(-1, 1, 1, 1)
    with arithmetic():
        raw = net(x / (s * s + 0.25).sqrt(), sigma.log() / 4, labels)
    raw = raw.float()
    return 0.25 / (s * s + 0.25) * x + s * 0.5 / (s * s + 0.25).sqrt() * raw


data = torch.randint(0, 256, (256, network["channels"], network["resolution"], network["resolution"]), dtype=torch.uint8)
ids = torch.arange(256) % max(network["label_dim"], 1)


def step(net, ema, optimiser, memory_format):
    total = 0.0
    picked = torch.randint(0, len(data), (batch,))
    for part in picked.split(ours["micro_batch"]):
        images = (data[part].float() / 127.5 - 1).contiguous(memory_format=memory_format)
        labels = F.one_hot(ids[part], network["label_dim"]).float() if network["label_dim"] else None
        sigma = (torch.randn(len(part)) * 1.2 - 1.2).exp()
        s = sigma.reshape(-1, 1, 1, 1)
        error = denoise(net, images + torch.randn_like(images) * s, sigma, labels) - images
        loss = ((s * s + 0.25) / (s * 0.5) ** 2 * error.square()).sum()
        (loss / batch).backward()
        total += loss.item()
    for parameter in net.parameters():
        parameter.grad.nan_to_num_(0, 1e5, -1e5)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    with torch.no_grad():
        for mean, parameter in zip(ema, net.parameters()):
            mean.copy_(parameter.lerp(mean, 0.999))
    return total


@torch.no_grad()
def sample(net, count, steps):
    times = (80 ** (1 / 7) + torch.arange(steps, dtype=torch.float64) / (steps - 1) * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    times = torch.cat([times, torch.zeros(1, dtype=torch.float64)])
    x = torch.randn(count, *data.shape[1:]).double() * times[0]
    labels = F.one_hot(torch.arange(count) % network["label_dim"], network["label_dim"]).float() if network["label_dim"] else None
    ask = lambda x, t: denoise(net, x.float(), t.float().expand(count), labels).double()
    for index in range(steps):
        t, after = times[index], times[index + 1]
        slope = (x - ask(x, t)) / t
        following = x + (after - t) * slope
        if index < steps - 1:
            following = x + (after - t) * (slope / 2 + (following - ask(following, after)) / after / 2)
        x = following
    return (x * 127.5 + 128).clip(0, 255).to(torch.uint8)


class Peer:
    """One way to run the PyTorch side."""

    def __init__(self, memory_format, fused):
        torch.manual_seed(0)
        self.net = UNet(network).to(memory_format=memory_format)
        assert sum(p.numel() for p in self.net.parameters()) == ours["parameters"], "both sides must have the same parameters"
        ema = [p.detach().clone() for p in self.net.parameters()]
        optimiser = torch.optim.Adam(self.net.parameters(), lr=1e-3, fused=fused)
        self.turn = lambda: step(self.net, ema, optimiser, memory_format)
        self.name = f"{'channels last' if memory_format is torch.channels_last else 'contiguous'}, {'fused' if fused else 'plain'} Adam"
        self.times = {what: {"wall": [], "cpu": []} for what in ["train", "sample"]}
        self.turn()

    def round(self):
        self.net.train()
        for _ in range(options.steps):
            self.take("train", self.turn)
        self.net.eval()
        for _ in range(options.blocks):
            self.take("sample", lambda: sample(self.net, ours["sample_block"], ours["sampler_steps"]))

    def take(self, what, work):
        finish()
        begun, spent = time.perf_counter(), time.process_time()
        work()
        finish()
        self.times[what]["wall"].append(time.perf_counter() - begun)
        self.times[what]["cpu"].append(time.process_time() - spent)


peers = [Peer(torch.contiguous_format, False)]
peers[0].round()
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
peers += [Peer(torch.contiguous_format, True), Peer(torch.channels_last, False), Peer(torch.channels_last, True)]
mine = {what: {"wall": [], "cpu": []} for what in ["train", "sample"]}
for _ in range(options.rounds):
    for peer in peers:
        peer.round()
    ours = measure()
    for what in mine:
        for clock in mine[what]:
            mine[what][clock] += ours[f"{what}_seconds"][clock]

print(f"{options.preset}: {ours['parameters']} parameters, batch {batch}, {precision} on {ours['device']}, {options.threads} threads, PyTorch {torch.__version__}")
for what, key, images in [("training", "train", batch), ("sampling", "sample", ours["sample_block"])]:
    for how, clock, of in [("median", "wall", statistics.median), ("fastest", "wall", min), ("by CPU time", "cpu", statistics.median)]:
        theirs, name = min((of(peer.times[key][clock]), peer.name) for peer in peers)
        own = of(mine[key][clock])
        rates = f"PyTorch {images / theirs:9.1f}   ours {images / own:9.1f}   ratio {theirs / own:5.2f}"
        print(f"{what:9} images/s  {how:11} {rates}   (PyTorch: {name})")
print(f"{'memory':9} MB, peak               PyTorch {memory / 1e6:9.0f}   ours {ours['peak_bytes'] / 1e6:9.0f}")
if device.type == "cuda":
    theirs, own = torch.cuda.max_memory_reserved() / 1e6, ours["device_bytes"] / 1e6
    print(f"{'GPU':9} MB, in use at most       PyTorch {theirs:9.0f}   ours {own:9.0f}   (ours: the whole GPU, its contexts included)")
