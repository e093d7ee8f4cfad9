"""Neighbours, k-means and TEMI beside their Python peers, on the same files and the same number of threads.

    cargo xtask bench clustering [--threads 2] [--only neighbours|kmeans|temi] [--features FILE] [--rows 50000] [--width 768]

Peers: faiss (exact inner-product index; k-means), scikit-learn (k-means), and TEMI as a loop over heads in plain PyTorch.
PYTHON picks the interpreter that has them. Data: random clusters of the given size, or the `features` of a safetensors file.
Every time is of the computation alone: reading files and starting programs is not counted on either side. On a machine that
others use too, `--cpu-time` compares CPU seconds instead: of neighbours those of our whole process, with its start and reading.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
arguments.add_argument("--threads", type=int, default=os.cpu_count())
arguments.add_argument("--only", choices=["neighbours", "kmeans", "temi"], action="append", default=[])
arguments.add_argument("--features", help="a safetensors file with a tensor `features` to cluster instead of random clusters")
arguments.add_argument("--cpu-time", action="store_true", help="CPU seconds instead of seconds")
arguments.add_argument("--rows", type=int, default=50_000)
arguments.add_argument("--width", type=int, default=768)
arguments.add_argument("--k", type=int, default=50, help="neighbours")
arguments.add_argument("--clusters", type=int, default=100)
arguments.add_argument("--kmeans-iterations", type=int, default=25)
arguments.add_argument("--seeds", type=int, default=5, help="k-means runs whose inertia is compared")
arguments.add_argument("--heads", type=int, default=50)
arguments.add_argument("--steps", type=int, default=6, help="TEMI steps to time")
options = arguments.parse_args()
for name in ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "CEDM_THREADS"]:
    os.environ[name] = str(options.threads)

import numpy as np  # after the number of threads is set

PROGRAM = os.path.join(os.environ.get("CEDM_BIN_DIR", "target/debug"), "cedm-clusterer")


clock = time.process_time if options.cpu_time else time.perf_counter


def ours(*parts):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([PROGRAM, *map(str, parts)], capture_output=True, text=True, env={**os.environ, "CEDM_DEVICE": "cpu"})
    if done.returncode != 0:
        sys.exit(f"{PROGRAM} failed: {done.stderr}")
    after, found = resource.getrusage(resource.RUSAGE_CHILDREN), json.loads(done.stdout)
    found["cpu_seconds"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return found


def show(what, theirs_name, theirs, mine, rest=""):
    ratio, unit = f"{theirs / mine:5.2f} times as fast", "CPU s" if options.cpu_time else "s"
    print(f"{what:44} {theirs_name:26} {theirs:8.2f} {unit}   ours {mine:8.2f} {unit}   {ratio}   {rest}", flush=True)


def data():
    if options.features:
        from safetensors.numpy import load_file

        return np.ascontiguousarray(load_file(options.features)["features"].astype(np.float32))
    random = np.random.default_rng(0)
    centres = random.standard_normal((options.clusters, options.width)).astype(np.float32)
    rows = centres[random.integers(0, options.clusters, options.rows)]
    return rows + 0.8 * random.standard_normal(rows.shape, dtype=np.float32)


def neighbours(path, features, folder):
    import faiss

    faiss.omp_set_num_threads(options.threads)
    out = os.path.join(folder, "neighbours.safetensors")
    found = ours("neighbours", "--features", path, "-k", options.k, "--out", out)
    started = clock()
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    index = faiss.IndexFlatIP(unit.shape[1])
    index.add(unit)
    similarities, indices = index.search(unit, options.k + 1)  # one of them is the row itself
    theirs = clock() - started
    from safetensors.numpy import load_file

    mine = load_file(out)
    others = [row[row != own][: options.k] for own, row in enumerate(indices)]
    same = np.mean([len(set(a) & set(b)) / options.k for a, b in zip(others[:2000], mine["indices"][:2000])])
    what = f"{options.k} neighbours, {features.shape[0]} x {features.shape[1]}"
    mine_seconds = found["cpu_seconds" if options.cpu_time else "seconds"]
    show(what, "faiss IndexFlatIP", theirs, mine_seconds, f"{same:.2%} of the neighbours agree")


def kmeans(path, features, folder):
    import faiss
    from sklearn.cluster import KMeans

    faiss.omp_set_num_threads(options.threads)
    clusters, iterations = options.clusters, options.kmeans_iterations
    run = ["run", "--method", "kmeans", "--features", path, "--clusters", clusters, "--out", os.path.join(folder, "kmeans")]

    def equal(starts):
        return ours(*run, "--settings", json.dumps({"starts": starts, "max_iterations": iterations, "tolerance": 0}))

    mine = equal(1)
    # the second start has no program start and no reading
    own = equal(2)["cpu_seconds"] - mine["cpu_seconds"] if options.cpu_time else mine["kmeans_seconds"]
    what = f"k-means C = {clusters}, 1 start, {iterations} iterations"
    for algorithm in ["lloyd", "elkan"]:
        peer = KMeans(clusters, init="k-means++", n_init=1, max_iter=iterations, tol=0, algorithm=algorithm, random_state=0)
        started = clock()
        peer.fit(features)
        show(what, f"scikit-learn {algorithm}", clock() - started, own, f"iterations {peer.n_iter_} and {mine['iterations']}")

    # inertia: one k-means++ start for each seed, to convergence, as scikit-learn's defaults have it
    found = ours(*run, "--settings", json.dumps({"starts": options.seeds}))["inertia_of_each_start"]
    peers = {"scikit-learn": [], "faiss": []}
    for seed in range(options.seeds):
        peers["scikit-learn"].append(KMeans(clusters, n_init=1, random_state=seed).fit(features).inertia_)
        peer = faiss.Kmeans(features.shape[1], clusters, niter=iterations, seed=seed, max_points_per_centroid=len(features))
        peer.train(features)
        peers["faiss"].append(float(peer.index.search(features, 1)[0].astype(np.float64).sum()))
    for name, inertias in peers.items():
        mean, own = statistics.mean(inertias), statistics.mean(found)
        spread = f"best {min(found) / min(inertias) - 1:+.3%}, spread {statistics.stdev(found) / own:.3%} and {statistics.stdev(inertias) / mean:.3%}"
        print(f"mean inertia of {options.seeds} seeds: {name} {mean:.6g}, ours {own:.6g} ({own / mean - 1:+.3%}; {spread})", flush=True)


def loop_over_heads(features, partners, batch, steps):
    """TEMI as its reference code does it: one module per head, a loop over heads, automatic differentiation."""
    import torch
    import torch.nn as nn
    import torch.nn.functional as F

    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    width, clusters, heads, beta = features.shape[1], options.clusters, options.heads, 0.6

    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            self.mlp = nn.Sequential(nn.Linear(width, 512), nn.GELU(), nn.Linear(512, 256))
            self.weight_g, self.weight_v = nn.Parameter(torch.ones(clusters, 1)), nn.Parameter((torch.rand(clusters, 256) - 0.5) / 8)

        def forward(self, x):
            unit = F.normalize(self.mlp(x), dim=-1)
            return unit @ (self.weight_g * self.weight_v / self.weight_v.norm(dim=1, keepdim=True)).t()

    students = nn.ModuleList([Head() for _ in range(heads)])
    teachers = nn.ModuleList([Head() for _ in range(heads)])
    teachers.load_state_dict(students.state_dict())
    teachers.requires_grad_(False)
    optimiser = torch.optim.AdamW(students.parameters(), lr=2e-4, weight_decay=1e-4)
    marginal = [torch.full((clusters,), 1.0 / clusters) for _ in range(heads)]
    rows, partners = torch.from_numpy(features), torch.from_numpy(partners.astype(np.int64))

    def step():
        anchors = torch.randint(0, len(rows), (batch,))
        neighbours = partners[anchors, torch.randint(0, partners.shape[1], (batch,))]
        x = torch.cat([rows[anchors], rows[neighbours]])
        with torch.no_grad():
            targets = [F.softmax(teacher(x) / 0.1, dim=-1).chunk(2) for teacher in teachers]
            weight = sum((a * b).sum(-1) for a, b in targets) / heads
        losses = []
        for head, student in enumerate(students):
            a, b = F.softmax(student(x) / 0.1, dim=-1).chunk(2)
            teacher_a, teacher_b = targets[head]
            marginal[head] = 0.9 * marginal[head] + 0.1 * torch.cat([teacher_a, teacher_b]).mean(0)
            terms = [-torch.log(((s * t) ** beta / marginal[head]).sum(-1)) for s, t in [(b, teacher_a), (a, teacher_b)]]
            losses.append(sum((weight * term).mean() for term in terms) / 2)
        optimiser.zero_grad()
        torch.stack(losses).mean().backward()
        optimiser.step()
        with torch.no_grad():
            for student, teacher in zip(students.parameters(), teachers.parameters()):
                teacher.mul_(0.996).add_(student, alpha=0.004)

    step()
    started = clock()
    for _ in range(steps):
        step()
    per_step = (clock() - started) / steps

    square = torch.randn(2048, 2048)
    square @ square
    started = clock()
    for _ in range(5):
        square @ square
    peak = 5 * 2 * 2048**3 / (clock() - started) / 1e9
    return per_step, peak


def temi(features, folder):
    from safetensors.numpy import load_file, save_file

    batch = 512
    # exactly as many rows as the steps need, each with neighbours among them
    rows = batch * options.steps
    part, near = os.path.join(folder, "part.safetensors"), os.path.join(folder, "part-neighbours.safetensors")
    save_file({"features": features[:rows].copy()}, part)
    ours("neighbours", "--features", part, "-k", options.k, "--out", near)

    def run(epochs):
        settings = {"heads": options.heads, "epochs": epochs, "warmup_epochs": 1, "batch": batch, "freeze_last_layer_epochs": 0}
        settings = json.dumps({**settings, "neighbours": options.k})
        files = ["--features", part, "--neighbours", near, "--out", os.path.join(folder, f"temi{epochs}")]
        return ours("run", *files, "--clusters", options.clusters, "--settings", settings)

    if options.cpu_time:
        # the second epoch has no start, no reading and no drawing of initial weights
        seconds = (run(2)["cpu_seconds"] - run(1)["cpu_seconds"]) / options.steps
    else:
        seconds = 1 / run(1)["steps_per_second"]
    theirs, peak = loop_over_heads(features[:rows], load_file(near)["indices"], batch, options.steps)
    width, clusters = features.shape[1], options.clusters
    forward = 2 * (width * 512 + 512 * 256 + 256 * clusters)
    # teacher and student forward; weights' gradients; inputs' gradients of all layers but the first
    gflop = 2 * batch * options.heads * (4 * forward - 2 * width * 512) / 1e9
    rate = f"{gflop / seconds:.0f} GFLOP/s, {gflop / seconds / peak:.0%} of the {peak:.0f} that a 2048 x 2048 product reaches"
    show(f"TEMI step, H = {options.heads}, C = {clusters}, D = {width}", "PyTorch, loop over heads", theirs, seconds, rate)


with tempfile.TemporaryDirectory() as folder:
    features, wanted = data(), options.only or ["neighbours", "kmeans", "temi"]
    from safetensors.numpy import save_file

    path = os.path.join(folder, "features.safetensors")
    save_file({"features": features}, path)
    if "neighbours" in wanted:
        neighbours(path, features, folder)
    if "kmeans" in wanted:
        kmeans(path, features, folder)
    if "temi" in wanted:
        temi(features, folder)
