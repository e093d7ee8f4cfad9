"""Evaluation against its Python peers, on the same files and the same number of threads.

Needs numpy, scipy and prdc. Usage: evaluation.py PROGRAM [--threads N] [--width 2048] [--rows 10000] [--prdc-width 1024]
where PROGRAM is the built example `evaluation` of cedm-maths. Prints one line per comparison: theirs, ours, ratio, agreement.
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
arguments.add_argument("--width", type=int, default=2048, help="feature width of the Frechet distance")
arguments.add_argument("--rows", type=int, default=10_000, help="rows of each side of precision and recall")
arguments.add_argument("--prdc-width", type=int, default=1024)
arguments.add_argument("--only", choices=["fd", "prdc"], default=None)
options = arguments.parse_args()
for name in ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "CEDM_THREADS"]:
    os.environ[name] = str(options.threads)

import numpy as np  # after the number of threads is set
import scipy.linalg


def ours(*parts):
    done = subprocess.run([options.program, *map(str, parts)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{options.program} failed: {done.stderr}")
    return json.loads(done.stdout)


def show(what, theirs_name, theirs_s, ours_s, agreement):
    ratio = f"{theirs_s / ours_s:7.1f} times as fast"
    print(f"{what:42} {theirs_name:28} {theirs_s:8.2f} s   ours {ours_s:8.2f} s   {ratio}   {agreement}", flush=True)


def statistics(rows, width, seed):
    """Mean and covariance of positive features with a spectrum that falls off as a network's does."""
    random = np.random.default_rng(seed)
    mix = random.standard_normal((width, width)) * (np.arange(1, width + 1) ** -0.7)[:, None] / np.sqrt(width) * 4
    features = np.maximum(random.standard_normal((rows, width)) @ mix + 0.3, 0)
    return features.mean(0), np.cov(features, rowvar=False)


def pytorch_fid(mu1, sigma1, mu2, sigma2):
    """The formula as pytorch-fid evaluates it: a general matrix root, with a ridge where that is not finite."""
    root = scipy.linalg.sqrtm(sigma1.dot(sigma2))
    if not np.isfinite(root).all():
        ridge = np.eye(len(mu1)) * 1e-6
        root = scipy.linalg.sqrtm((sigma1 + ridge).dot(sigma2 + ridge))
    difference = mu1 - mu2
    return difference @ difference + np.trace(sigma1) + np.trace(sigma2) - 2 * np.trace(np.real(root))


def frechet(folder, what, rows):
    paths, given = [], []
    for side, count in enumerate(rows):
        mu, sigma = statistics(count, options.width, side)
        paths.append(os.path.join(folder, f"{what}-{side}.npz"))
        np.savez(paths[-1], mu=mu, sigma=sigma)
        given += [mu, sigma]
    started = time.perf_counter()
    expected = pytorch_fid(*given)
    theirs = time.perf_counter() - started
    found = ours("fd", *paths)
    agreement = f"relative difference {abs(found['distance'] / expected - 1):.1e}"
    show(f"FD {options.width}, {what}, root included", "scipy sqrtm (pytorch-fid)", theirs, found["seconds"], agreement)
    show(f"FD {options.width}, {what}, root cached", "scipy sqrtm (pytorch-fid)", theirs, found["seconds_with_cached_root"], agreement)


def balls(folder):
    import prdc

    random = np.random.default_rng(0)
    mix = random.standard_normal((options.prdc_width, options.prdc_width)) / np.sqrt(options.prdc_width)
    sides, paths = [], []
    for side in range(2):
        features = (random.standard_normal((options.rows, options.prdc_width)) @ mix + 0.05 * side).astype(np.float32)
        paths.append(os.path.join(folder, f"side{side}.npy"))
        np.save(paths[-1], features)
        sides.append(features)
    found = ours("prdc", *paths)
    started = time.perf_counter()
    expected = prdc.compute_prdc(real_features=sides[0], fake_features=sides[1], nearest_k=5)
    theirs = time.perf_counter() - started
    worst = max(abs(float(expected[name]) - found[name]) for name in ["precision", "recall", "density", "coverage"])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    what = f"PRDC {options.rows} x {options.rows} x {options.prdc_width}"
    show(what, "prdc", theirs, found["seconds"], f"largest difference {worst:.1e}; peak memory {peak} against {found['peak_mib']} MiB")


with tempfile.TemporaryDirectory() as folder:
    if options.only != "prdc":
        frechet(folder, "full rank", (5 * options.width, 4 * options.width))
        frechet(folder, "singular", (options.width // 2, options.width // 3))
    if options.only != "fd":
        balls(folder)
