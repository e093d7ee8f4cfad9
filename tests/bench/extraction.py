"""Import and extraction against their Python peers, on the same images, cores, threads, batch and dtype.

Needs numpy, Pillow, torch, timm, torchvision and pytorch-fid. Usage: extraction.py [--only import|million|resize|vit|inception]
[--threads N] [--images 60000] [--extract 256]. Images and weights are generated. Prints one line per comparison.
"""

import argparse
import io
import json
import multiprocessing
import os
import pickle
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile

arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
arguments.add_argument("--threads", type=int, default=os.cpu_count())
arguments.add_argument("--images", type=int, default=60_000, help="images of the import")
arguments.add_argument("--million", type=int, default=1_000_000, help="images of the memory test")
arguments.add_argument("--extract", type=int, default=256, help="images of the extraction")
arguments.add_argument("--batch", type=int, default=32)
arguments.add_argument("--only", choices=["import", "million", "resize", "vit", "inception"], default=None)
options = arguments.parse_args()
for name in ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "CEDM_THREADS"]:
    os.environ[name] = str(options.threads)
PROGRAM = os.path.join(os.environ.get("CEDM_BIN_DIR", "target/debug"), "cedm-extractor")

import numpy as np  # after the number of threads is set
from PIL import Image


def ours(*parts):
    """What our program printed, the wall seconds of the whole process, and its peak memory in MiB."""
    started, peak = time.perf_counter(), 0
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen([PROGRAM, *map(str, parts)], stdout=out, stderr=err)
        # The kernel's own maximum would count this process too, from which the other was split off.
        while process.poll() is None:
            peak = max(peak, resident(process.pid))
            time.sleep(0.02)
        seconds = time.perf_counter() - started
        out.seek(0), err.seek(0)
        if process.returncode != 0:
            sys.exit(f"{PROGRAM} {parts[0]} failed: {err.read()}")
        return json.load(out), seconds, peak / 1024


def resident(pid):
    """Largest resident memory of a running process so far, in KiB."""
    try:
        with open(f"/proc/{pid}/status") as status:
            return next((int(line.split()[1]) for line in status if line.startswith("VmHWM:")), 0)
    except OSError:
        return 0


def show(what, peer, theirs, found, remark=""):
    """Rates in images per second."""
    print(f"{what:44} {peer:34} {theirs:9.4g}/s   ours {found:9.4g}/s   {found / theirs:6.2f} times as fast   {remark}", flush=True)


def pictures(count):
    """uint8 [count, 32, 32, 3], smooth enough to compress as photographs do."""
    random = np.random.default_rng(0)
    small = random.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    noise = random.integers(0, 24, (count, 32, 32, 3), dtype=np.uint8)
    return (np.repeat(np.repeat(small, 4, 1), 4, 2) // 8 * 7 + noise).astype(np.uint8)


def png(pixels):
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format="png", compress_level=0)
    return out.getvalue()


def sources(folder):
    """The same images and labels as an EDM archive and as CIFAR's own python archive."""
    images = pictures(options.images)
    labels = [int(label) for label in np.arange(options.images) * 7 % 10]
    edm, cifar = os.path.join(folder, "edm.zip"), os.path.join(folder, "cifar-10-python.tar.gz")
    names = [f"{index:08d}"[:5] + f"/img{index:08d}.png" for index in range(options.images)]
    with zipfile.ZipFile(edm, "w", zipfile.ZIP_STORED) as archive:
        for name, pixels in zip(names, images):
            archive.writestr(name, png(pixels))
        archive.writestr("dataset.json", json.dumps({"labels": list(zip(names, labels))}))
    planes = images.transpose(0, 3, 1, 2).reshape(options.images, -1)
    with tarfile.open(cifar, "w:gz", compresslevel=1) as archive:
        cuts = np.linspace(0, options.images, 6).astype(int)
        for batch in range(5):
            part = slice(cuts[batch], cuts[batch + 1])
            body = pickle.dumps({b"data": planes[part], b"labels": labels[part]}, protocol=2)
            entry = tarfile.TarInfo(f"cifar-10-batches-py/data_batch_{batch + 1}")
            entry.size = len(body)
            archive.addfile(entry, io.BytesIO(body))
    return edm, cifar


def decode(task):
    """Decodes every n-th image of an archive, as a Python loader does."""
    path, first, step = task
    total = 0
    with zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".png"))
        for name in names[first::step]:
            with archive.open(name) as file:
                total += int(np.array(Image.open(file)).sum(dtype=np.int64))
    return total


def importing(folder):
    edm, cifar = sources(folder)
    started = time.perf_counter()
    with multiprocessing.Pool(options.threads) as pool:
        pool.map(decode, [(edm, first, options.threads) for first in range(options.threads)])
    theirs = options.images / (time.perf_counter() - started)
    contents = []
    for what, source in [("import, EDM archive", edm), ("import, CIFAR python archive", cifar)]:
        found, seconds, peak = ours("import", source, "--out", source + ".set", "--threads", options.threads)
        contents.append(found["content"])
        remark = f"{options.images} images in {seconds:.1f} s, peak {peak:.0f} MiB (ours also digests and writes shards)"
        show(what, f"zipfile + Pillow, {options.threads} processes", theirs, options.images / seconds, remark)
    print(f"{'':44} the same digest from both containers: {contents[0] == contents[1]}", flush=True)


def million(folder):
    """A tar file with as many members as asked for, in two class folders; how much memory an import of it takes."""
    path = os.path.join(folder, "million.tar")
    bodies = [png(pixels[:8, :8]) for pixels in pictures(64)]
    with open(path, "wb") as file:
        for index in range(options.million):
            body = bodies[index % 64]
            header = bytearray(512)
            name = f"{'ab'[index % 2]}/{index:08d}.png".encode()
            header[: len(name)] = name
            header[100:108], header[124:136] = b"0000644\0", b"%011o\0" % len(body)
            header[148:156], header[156:157], header[257:265] = b" " * 8, b"0", b"ustar\x0000"
            header[148:156] = b"%06o\0 " % sum(header)
            file.write(header + body + b"\0" * (-len(body) % 512))
        file.write(b"\0" * 1024)
    small = os.path.join(folder, "small")
    _, _, least = ours("import", path, "--out", small, "--max-images", 4096)
    found, seconds, peak = ours("import", path, "--out", os.path.join(folder, "set"), "--threads", options.threads)
    per = (peak - least) * 2**20 / max(1, found["count"] - 4096)
    print(
        f"import of {found['count']} images from one tar file: {seconds:.0f} s, {found['count'] / seconds:.0f}/s, peak memory {peak:.0f} MiB "
        f"({least:.0f} MiB with 4,096 of them: {per:.0f} bytes for each more)",
        flush=True,
    )


def resizing(folder):
    """Photographs brought to 64 pixels by Lanczos, as the EDM tool does."""
    source = os.path.join(folder, "photos")
    os.makedirs(source)
    random = np.random.default_rng(1)
    count = 400
    for index in range(count):
        small = Image.fromarray(random.integers(0, 256, (16, 24, 3), dtype=np.uint8))
        small.resize((768, 512), Image.Resampling.BICUBIC).save(os.path.join(source, f"{index:04d}.jpg"), quality=90)
    with multiprocessing.Pool(options.threads) as pool:
        started = time.perf_counter()
        pool.map(shrink, [os.path.join(source, name) for name in sorted(os.listdir(source))])
        theirs = count / (time.perf_counter() - started)
    found, seconds, _ = ours("import", source, "--out", source + ".set", "--resolution", 64, "--framing", "center-crop", "--threads", options.threads)
    show("import, 768x512 JPEG to 64, crop, Lanczos", f"Pillow, {options.threads} processes", theirs, found["count"] / seconds)


def shrink(path):
    pixels = np.array(Image.open(path))
    side = min(pixels.shape[:2])
    top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
    square = Image.fromarray(pixels[top : top + side, left : left + side])
    return np.array(square.resize((64, 64), Image.Resampling.LANCZOS))


def extracting(folder, what, extractor, weights, forward, peer, transform):
    """Our extractor against a Python loop over the same images, both from uint8 pixels in memory."""
    import torch

    images = pictures(options.extract)
    path = os.path.join(folder, f"{extractor}.npy")
    np.save(path, images)
    torch.set_num_threads(options.threads)
    with torch.inference_mode():
        forward(transform(images[: options.batch]))
        started = time.perf_counter()
        expected = torch.cat([forward(transform(images[at : at + options.batch])) for at in range(0, len(images), options.batch)])
        theirs = len(images) / (time.perf_counter() - started)
    out = os.path.join(folder, f"{extractor}.safetensors")
    found, _, peak = ours("run", path, "--extractor", extractor, "--weights", weights, "--out", out, "--batch", options.batch)
    from safetensors.torch import load_file

    features = load_file(out)["features"]
    worst = ((features - expected).abs().max() / expected.pow(2).mean().sqrt()).item()
    show(what, peer, theirs, found["images_per_second"], f"largest difference {worst:.1e} rms, peak {peak:.0f} MiB")


def vit(folder):
    import timm
    import torch

    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])

    def transform(images):
        large = [np.array(Image.fromarray(image).resize((224, 224), Image.Resampling.BICUBIC)) for image in images]
        return ((torch.from_numpy(np.stack(large)).float() / 255 - mean) / std).permute(0, 3, 1, 2).contiguous()

    for extractor, name in [("dino_vits16", "vit_small_patch16_224.dino"), ("dino_vitb16", "vit_base_patch16_224.dino")]:
        torch.manual_seed(0)
        model = timm.create_model(name, pretrained=False).eval()
        weights = os.path.join(folder, f"{extractor}.pth")
        torch.save(model.state_dict(), weights)
        what = f"{extractor}, 32 to 224, batch {options.batch}, fp32"
        extracting(folder, what, extractor, weights, model, f"timm + Pillow, {options.threads} threads", transform)


def inception(folder):
    import torch
    from pytorch_fid import inception as reference

    torch.manual_seed(0)
    network = reference._inception_v3(num_classes=1008, aux_logits=False, weights=None)
    network.Mixed_5b = reference.FIDInceptionA(192, pool_features=32)
    network.Mixed_5c = reference.FIDInceptionA(256, pool_features=64)
    network.Mixed_5d = reference.FIDInceptionA(288, pool_features=64)
    for name in ["6b", "6c", "6d", "6e"]:
        channels = {"6b": 128, "6c": 160, "6d": 160, "6e": 192}[name]
        setattr(network, f"Mixed_{name}", reference.FIDInceptionC(768, channels_7x7=channels))
    network.Mixed_7b, network.Mixed_7c = reference.FIDInceptionE_1(1280), reference.FIDInceptionE_2(2048)
    network.transform_input = False
    weights = os.path.join(folder, "inception.pth")
    torch.save(network.state_dict(), weights)
    network.eval().fc = torch.nn.Identity()

    def forward(images):
        # TF1's rule: no half-pixel shift, no antialias (torch-fidelity's and EDM's detector).
        side = images.shape[-1]
        at = torch.arange(299) * (side / 299)
        low = at.floor().long()
        high, weight = (low + 1).clamp(max=side - 1), at - low
        rows = images[:, :, low] * (1 - weight)[:, None] + images[:, :, high] * weight[:, None]
        large = rows[..., low] * (1 - weight) + rows[..., high] * weight
        return network((large - 128) / 128)

    def transform(images):
        return torch.from_numpy(images).permute(0, 3, 1, 2).float().contiguous()

    what = f"inception_fid, 32 to 299, batch {options.batch}, fp32"
    extracting(folder, what, "inception_fid", weights, forward, f"pytorch-fid, {options.threads} threads", transform)


if __name__ == "__main__":
    for name, part in [("import", importing), ("million", million), ("resize", resizing), ("vit", vit), ("inception", inception)]:
        if options.only in (None, name):
            with tempfile.TemporaryDirectory() as folder:
                part(folder)
