"""Writes a small wheel and its pins: one large library (incompressible), one executable, one file that nothing takes."""

import base64, hashlib, json, random, sys, zipfile
folder, arch = sys.argv[1], sys.argv[2]
members = {"torch/lib/libbig.so": random.Random(1).randbytes(3 << 20), "torch/unwanted.txt": random.Random(2).randbytes(8 << 20), "scripts/tool": b"#!/bin/sh\n"}
digest = lambda data: base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
record = "".join(f"{name},sha256={digest(data)},{len(data)}\n" for name, data in members.items()) + "cedm_fake-1.0.dist-info/RECORD,,\n"
info = {"cedm_fake-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: cedm-fake\nVersion: 1.0\n",
        "cedm_fake-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: py3-none-any\n"}
path = f"{folder}/cedm_fake-1.0-py3-none-any.whl"
with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
    for name, data in {**members, **info, "cedm_fake-1.0.dist-info/RECORD": record.encode()}.items():
        entry = zipfile.ZipInfo(name)
        entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, (0o755 if name == "scripts/tool" else 0o644) << 16
        wheel.writestr(entry, data)
whole = open(path, "rb").read()
take = [{"part": "cpu", "from": "torch/lib/", "match": "lib*.so", "to": "libtorch/lib/"}, {"part": "cpu", "from": "scripts/", "match": "tool", "to": "bin/"}]
pins = {arch: {"wheels": [{"name": "cedm-fake", "version": "1.0", "platform": f"manylinux_2_28_{arch}", "file": path.rsplit("/", 1)[1], "size": len(whole),
    "sha256": hashlib.sha256(whole).hexdigest(), "record_sha256": hashlib.sha256(record.encode()).hexdigest(), "take": take}],
    "texts": {"libtorch/lib/libtorch.so": "INPUT(libbig.so)\n"}}}
json.dump(pins, open(f"{folder}/pins.json", "w"))
open(f"{folder}/big", "wb").write(members["torch/lib/libbig.so"])
