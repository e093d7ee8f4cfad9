"""Evaluation against its Python peers, on the same files and the same number of threads.

Needs numpy, scipy, prdc, torch, torchvision, pytorch-fid, torch-fidelity and safetensors (each part only its own). Usage:
evaluation.py PROGRAM [--threads N] [--width 2048] [--rows 10000] [--prdc-width 1024] [--kid-rows 5000] [--images 256] [--only fd|prdc|kid|inception]
where PROGRAM is the built example `evaluation` of cedm-maths, and CEDM_BIN_DIR holds cedm-evaluator. Prints one line per comparison: theirs, ours,
ratio, agreement.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time

arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
arguments.add_argument("program")
arguments.add_argument("--threads", type=int, default=os.cpu_count())
arguments.add_argument("--width", type=int, default=2048, help="feature width of the Frechet and the kernel distance")
arguments.add_argument("--rows", type=int, default=10_000, help="rows of each side of precision and recall")
arguments.add_argument("--prdc-width", type=int, default=1024)
arguments.add_argument("--kid-rows", type=int, default=5_000, help="rows of each side of the kernel distance")
arguments.add_argument("--images", type=int, default=256, help="images that go through Inception")
arguments.add_argument("--rounds", type=int, default=2, help="both sides in turn so many times; the shortest time of each counts")
arguments.add_argument("--only", choices=["fd", "prdc", "kid", "inception"], default=None)
options = arguments.parse_args()
for name in ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "CEDM_THREADS"]:
    os.environ[name] = str(options.threads)
os.environ.setdefault("CEDM_DEVICE", "cpu")

import numpy as np  # after the number of threads is set
import scipy.linalg


def ours(*parts):
    done = subprocess.run([options.program, *map(str, parts)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{parts[0]} failed: {done.stderr}")
    return json.loads(done.stdout)


def show(what, theirs_name, theirs_s, ours_s, agreement):
    ratio = f"{theirs_s / ours_s:7.1f} times as fast"
    print(f"{what:42} {theirs_name:28} {theirs_s:8.2f} s   ours {ours_s:8.2f} s   {ratio}   {agreement}", flush=True)


def in_turn(theirs, ours_once):
    """(their result, their shortest seconds, our result, our shortest seconds): rounds of both, so that a busy machine is fair to both."""
    best = {}
    for _ in range(options.rounds):
        started = time.perf_counter()
        expected = theirs()
        theirs_s = time.perf_counter() - started
        found, ours_s = ours_once()
        best["theirs"] = min(best.get("theirs", theirs_s), theirs_s)
        best["ours"] = min(best.get("ours", ours_s), ours_s)
    return expected, best["theirs"], found, best["ours"]


def timed(*parts):
    found = ours(*parts)
    return found, found["seconds"]


def features(rows, width, seed):
    """Positive features with a spectrum that falls off as a network's does."""
    random = np.random.default_rng(seed)
    mix = random.standard_normal((width, width)) * (np.arange(1, width + 1) ** -0.7)[:, None] / np.sqrt(width) * 4
    return np.maximum(random.standard_normal((rows, width)) @ mix + 0.3, 0)


def pytorch_fid(mu1, sigma1, mu2, sigma2):
    """The formula as pytorch-fid evaluates it: a general matrix root, with a ridge where that is not finite."""
    root = scipy.linalg.sqrtm(sigma1.dot(sigma2))
    if not np.isfinite(root).all():
        ridge = np.eye(len(mu1)) * 1e-6
        root = scipy.linalg.sqrtm((sigma1 + ridge).dot(sigma2 + ridge))
    difference = mu1 - mu2
    return difference @ difference + np.trace(sigma1) + np.trace(sigma2) - 2 * np.trace(np.real(root))


def exact(first, second):
    """The distance without any matrix root: the trace term is the sum of the singular values of the product of the centred rows."""
    a, b = [(rows - rows.mean(0)) / np.sqrt(len(rows) - 1) for rows in (first, second)]
    short = len(a) < a.shape[1] and len(b) < b.shape[1]
    if short:
        product = a @ b.T
    else:
        product = np.linalg.qr(a, mode="r") @ np.linalg.qr(b, mode="r").T
    difference = first.mean(0) - second.mean(0)
    return difference @ difference + (a * a).sum() + (b * b).sum() - 2 * np.linalg.svd(product, compute_uv=False).sum()


def frechet(folder, what, rows):
    sides = [features(count, options.width, side) for side, count in enumerate(rows)]
    paths, given = [], []
    for side, found in enumerate(sides):
        mu, sigma = found.mean(0), np.cov(found, rowvar=False)
        paths.append(os.path.join(folder, f"{what}-{side}.npz"))
        np.savez(paths[-1], mu=mu, sigma=sigma)
        given += [mu, sigma]
    cached = []

    def once():
        found = ours("fd", *paths)
        cached.append(found["seconds_with_cached_root"])
        return found, found["seconds"]

    theirs, theirs_s, found, ours_s = in_turn(lambda: pytorch_fid(*given), once)
    truth = exact(*sides)
    errors = [abs(value / truth - 1) for value in (found["distance"], theirs)]
    agreement = f"relative error against the exact value {errors[0]:.1e}, theirs {errors[1]:.1e}"
    show(f"FD {options.width}, {what}, root included", "scipy sqrtm (pytorch-fid)", theirs_s, ours_s, agreement)
    show(f"FD {options.width}, {what}, root cached", "scipy sqrtm (pytorch-fid)", theirs_s, min(cached), agreement)


def balls(folder):
    import prdc

    random = np.random.default_rng(0)
    mix = random.standard_normal((options.prdc_width, options.prdc_width)) / np.sqrt(options.prdc_width)
    sides, paths = [], []
    for side in range(2):
        found = (random.standard_normal((options.rows, options.prdc_width)) @ mix + 0.05 * side).astype(np.float32)
        paths.append(os.path.join(folder, f"side{side}.npy"))
        np.save(paths[-1], found)
        sides.append(found)

    def theirs():
        return prdc.compute_prdc(real_features=sides[0], fake_features=sides[1], nearest_k=5)

    expected, theirs_s, found, ours_s = in_turn(theirs, lambda: timed("prdc", *paths))
    worst = max(abs(float(expected[name]) - found[name]) for name in ["precision", "recall", "density", "coverage"])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    what = f"PRDC {options.rows} x {options.rows} x {options.prdc_width}"
    show(what, "prdc", theirs_s, ours_s, f"largest difference {worst:.1e}; peak memory {peak} against {found['peak_mib']} MiB")


def kernel(folder):
    import torch
    from torch_fidelity.metric_kid import kid_features_to_metric

    torch.set_num_threads(options.threads)
    sides, paths = [], []
    for side in range(2):
        found = (features(options.kid_rows, options.width, side) + 0.02 * side).astype(np.float32)
        paths.append(os.path.join(folder, f"kernel{side}.npy"))
        np.save(paths[-1], found)
        sides.append(torch.from_numpy(found))

    def once():
        return kid_features_to_metric(sides[1], sides[0], kid_subsets=100, kid_subset_size=1000, rng_seed=0, verbose=False)

    theirs, theirs_s, found, ours_s = in_turn(once, lambda: timed("kid", *paths))
    mean, std = theirs["kernel_inception_distance_mean"], theirs["kernel_inception_distance_std"]
    apart = abs(mean - found["mean"]) / (std / 10 * 2**0.5)
    show(f"KID 100 x 1000 of {options.kid_rows} x {options.width}", "torch-fidelity", theirs_s, ours_s, f"other subsets: means {apart:.1f} standard errors apart")


def inception(folder):
    """The network of 2015-12-05 with random weights on both sides: speed does not depend on them, and agreement shows on any."""
    import pytorch_fid.inception
    import torch
    import torchvision
    from safetensors.torch import load_file
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    state = torchvision.models.inception_v3(num_classes=1008, aux_logits=False, init_weights=False, weights=None).state_dict()
    for name, tensor in state.items():
        if tensor.dim() > 1:
            tensor.normal_(std=float(np.sqrt(2 / tensor[0].numel())))
        elif name.endswith("running_var") or name.endswith("bn.weight"):
            tensor.uniform_(0.8, 1.2)
        elif tensor.is_floating_point():
            tensor.normal_(std=0.05)
    weights = os.path.join(folder, "inception.pth")
    torch.save(state, weights)
    images = torch.randint(0, 256, (options.images, 3, 32, 32), dtype=torch.uint8)
    shard, measured = os.path.join(folder, "images.npy"), os.path.join(folder, "features.safetensors")
    np.save(shard, images.permute(0, 2, 3, 1).numpy())
    program = os.path.join(os.environ["CEDM_BIN_DIR"], "cedm-evaluator")

    def once(extractor):
        line = [program, "run", "--generated", shard, "--extractor", extractor, "--weights", weights]
        done = subprocess.run([*line, "--metrics", "none", "--save-features", measured], capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"cedm-evaluator failed: {done.stderr}")
        return load_file(measured)["features"], json.loads(done.stdout)["sets"]["generated"]["seconds"]

    pytorch_fid.inception.load_state_dict_from_url = lambda *_, **__: state
    wrapper = pytorch_fid.inception.InceptionV3([3]).eval()
    fidelity = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=weights).eval()
    peers = [
        ("pytorch-fid", "inception_pytorch_fid", lambda batch: wrapper(batch.float() / 255)[0].flatten(1)),
        ("torch-fidelity", "inception_fid", lambda batch: fidelity(batch)[0]),
    ]
    for name, extractor, run in peers:
        with torch.no_grad():
            run(images[:4])
            theirs = lambda: torch.cat([run(batch) for batch in images.split(50)])
            expected, theirs_s, found, ours_s = in_turn(theirs, lambda: once(extractor))
        worst = (found - expected).abs().max() / expected.abs().max()
        agreement = f"{options.images / theirs_s:.1f} against {options.images / ours_s:.1f} images/s; features differ by {worst:.1e} of the largest"
        show(f"Inception, {options.images} images of 32 x 32", name, theirs_s, ours_s, agreement)


PARTS = {
    "fd": lambda folder: [
        frechet(folder, "full rank", (5 * options.width, 4 * options.width)),
        frechet(folder, "singular", (options.width // 2, options.width // 3)),
    ],
    "prdc": balls,
    "kid": kernel,
    "inception": inception,
}
with tempfile.TemporaryDirectory() as folder:
    for name, part in PARTS.items():
        if options.only in (None, name):
            part(folder)
