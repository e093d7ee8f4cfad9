"""Bytes of a wheel on demand: from pip's own index settings, by resumable range requests into a sparse local copy."""

import hashlib
import io
import os
import subprocess
import sys
import time

BLOCK = 1 << 20
JOURNAL_EVERY = 8 * BLOCK
ATTEMPTS = 5


class Setback(Exception):
    """One sentence for the person at the keyboard."""


def mib(count):
    return f"{count / 2**20:,.{1 if count < 10 << 20 else 0}f} MiB"


def pip_arguments(wheel):
    """What tells pip to choose the pinned file, whatever Python runs this."""
    platforms = [wheel["platform"]]
    arch = wheel["platform"].split("_", 3)[-1]
    platforms += [f"manylinux_2_{minor}_{arch}" for minor in range(28, 16, -1)] + [f"manylinux2014_{arch}"]
    flags = ["--no-deps", "--only-binary=:all:", "--python-version", "3.11", "--implementation", "cp"]
    for platform in dict.fromkeys(platforms):
        flags += ["--platform", platform]
    return flags


class PipIndex:
    """Finds files with pip's finder and reads ranges with pip's session, so that the user's index, proxy, certificates and
    credentials apply. These are pip's internals: whatever goes wrong in them leads back to the public `pip download`."""

    def __init__(self, wheel):
        from pip._internal.cli.cmdoptions import make_target_python
        from pip._internal.commands import create_command

        command = create_command("download")
        self.context = command.main_context()
        self.context.__enter__()
        options, _ = command.parse_args([*pip_arguments(wheel), "--quiet", wheel["name"]])
        self.session = command.get_default_session(options)
        self.finder = command._build_package_finder(options, self.session, target_python=make_target_python(options))

    def find(self, wheel):
        """Link to the pinned file, or None where the index has no such file."""
        for candidate in self.finder.find_all_candidates(wheel["name"]):
            if candidate.link.filename == wheel["file"]:
                return candidate.link
        return None

    def read(self, link, start, end):
        """Chunks of the bytes start..end; raises when the server ignores ranges."""
        headers = {"Range": f"bytes={start}-{end - 1}", "Accept-Encoding": "identity"}
        response = self.session.get(link.url_without_fragment, headers=headers, stream=True)
        if response.status_code != 206:
            raise LookupError(f"answer {response.status_code} to a range request")
        try:
            yield from response.raw.stream(BLOCK, decode_content=False)
        finally:
            response.close()


class PartialWheel(io.RawIOBase):
    """A sparse local copy of a wheel, filled by what is read. A journal beside it lists the filled spans, so that a later
    run continues where this one ended."""

    def __init__(self, wheel, folder):
        self.wheel, self.size, self.position = wheel, wheel["size"], 0
        self.path = os.path.join(folder, f"{wheel['sha256'][:16]}.part")
        self.journal = self.path + ".spans"
        self.spans = self._journalled()
        self.file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        present = os.fstat(self.file).st_size
        self.spans = [(a, min(b, present)) for a, b in self.spans if a < present]
        os.ftruncate(self.file, self.size)
        self.index, self.link, self.shown = None, None, time.monotonic()

    def _journalled(self):
        spans = []
        try:
            with open(self.journal, encoding="ascii") as lines:
                for line in lines:
                    parts = line.split()
                    if line.endswith("\n") and len(parts) == 2 and all(part.isdigit() for part in parts):
                        spans.append((int(parts[0]), int(parts[1])))
        except FileNotFoundError:
            pass
        return merged(spans)

    def _record(self, start, end):
        os.fsync(self.file)
        with open(self.journal, "a", encoding="ascii") as journal:
            journal.write(f"{start} {end}\n")
        self.spans = merged(self.spans + [(start, end)])

    def forget(self, start, end):
        """Declares a span unread, because what it holds is broken."""
        kept = []
        for a, b in self.spans:
            kept += [(a, min(b, start)), (max(a, end), b)]
        self.spans = [(a, b) for a, b in kept if a < b]
        with open(self.journal, "w", encoding="ascii") as journal:
            journal.writelines(f"{a} {b}\n" for a, b in self.spans)

    def remove(self):
        """Deletes the copy: everything wanted has been unpacked."""
        os.close(self.file)
        for path in (self.path, self.journal):
            if os.path.exists(path):
                os.remove(path)

    def missing(self, start, end):
        """The spans of start..end that are not here yet."""
        gaps, at = [], start
        for a, b in self.spans:
            if b <= at or a >= end:
                continue
            if a > at:
                gaps.append((at, a))
            at = b
        if at < end:
            gaps.append((at, end))
        return gaps

    def need(self, start, end, label=None):
        """Makes start..end local."""
        for gap in self.missing(start, end):
            self._fetch(*gap, label)

    def _connect(self):
        """Finds the file; falls back to a whole download by `pip download`. True when ranges can be read."""
        if self.link is not None:
            return True
        try:
            self.index = PipIndex(self.wheel)
            self.link = self.index.find(self.wheel)
        except Exception as error:  # pip's internals or its network: the public command says it better
            print(f"  ({self.wheel['name']}: asking `pip download`, as pip's own session failed: {error})", file=sys.stderr)
        if self.link is not None and not self.link.is_file:
            return True
        self._whole(self.link.file_path if self.link is not None else self._pip_download())
        return False

    def _pip_download(self):
        folder = os.path.dirname(self.path)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", folder, *pip_arguments(self.wheel)]
        outcome = subprocess.run([*command, f"{self.wheel['name']}=={self.wheel['version']}"], capture_output=True, text=True)
        found = os.path.join(folder, self.wheel["file"])
        if not os.path.exists(found):
            said = [line for line in outcome.stderr.splitlines() if "ERROR" in line] or ["it brought another file"]
            raise Setback(
                f"could not download {self.wheel['file']} with pip ({said[-1].removeprefix('ERROR: ')[:300]}); "
                "check the network and pip's index settings, then run setup again"
            )
        return found

    def _whole(self, found):
        """Takes a complete local file over, after checking its SHA-256."""
        digest = hashlib.sha256()
        with open(found, "rb") as file:
            at = 0
            while block := file.read(BLOCK):
                digest.update(block)
                os.pwrite(self.file, block, at)
                at += len(block)
        if digest.hexdigest() != self.wheel["sha256"]:
            raise Setback(
                f"{found} is not the pinned {self.wheel['file']}: its SHA-256 is {digest.hexdigest()}, expected {self.wheel['sha256']}; "
                "remove it and run setup again"
            )
        if os.path.dirname(found) == os.path.dirname(self.path):
            os.remove(found)
        self._record(0, self.size)

    def _fetch(self, start, end, label):
        attempt = 0
        while start < end:
            if not self._connect():
                return
            try:
                before = start
                for chunk in self.index.read(self.link, start, end):
                    chunk = chunk[: end - start]
                    os.pwrite(self.file, chunk, start)
                    start += len(chunk)
                    self._show(label, start, end)
                    if start - before >= JOURNAL_EVERY or start == end:
                        self._record(before, start)
                        before, attempt = start, 0
                if start < end:
                    raise ConnectionError("the connection closed early")
            except LookupError as error:
                print(f"  ({self.wheel['name']}: {error}; fetching the whole file)", file=sys.stderr)
                self._whole(self._pip_download())
                return
            except OSError as error:
                if error.errno is not None and not isinstance(error, ConnectionError) and type(error) is OSError:
                    raise  # the disk, not the network
                attempt = self._retry(attempt, before, start, error)
            except Exception as error:  # pip's vendored urllib3 has its own exceptions
                attempt = self._retry(attempt, before, start, error)

    def _retry(self, attempt, before, start, error):
        """Keeps what arrived and waits before the next attempt; one that brought something counts as a fresh start."""
        if start > before:
            self._record(before, start)
            return 0
        attempt += 1
        if attempt >= ATTEMPTS:
            raise Setback(
                f"the download of {self.wheel['file']} broke {ATTEMPTS} times in a row ({error}); "
                "check the network and run setup again, it continues where it stopped"
            )
        time.sleep(0.25 * 2**attempt)
        return attempt

    def _show(self, label, at, end):
        if label is None:
            return
        now = time.monotonic()
        if sys.stderr.isatty() and (now - self.shown > 0.2 or at == end):
            self.shown = now
            print(f"\r  {label}: {mib(end - at)} left   ", end="\n" if at == end else "", file=sys.stderr, flush=True)
        elif not sys.stderr.isatty() and now - self.shown > 15:
            self.shown = now
            print(f"  {label}: {mib(end - at)} left", file=sys.stderr, flush=True)

    # What zipfile needs of a file.
    def seekable(self):
        return True

    def readable(self):
        return True

    def seek(self, offset, whence=os.SEEK_SET):
        self.position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.position, os.SEEK_END: self.size}[whence]
        return self.position

    def tell(self):
        return self.position

    def read(self, count=-1):
        end = self.size if count is None or count < 0 else min(self.position + count, self.size)
        if end <= self.position:
            return b""
        if self.missing(self.position, end):  # not planned: the end record and the directory; take a block's worth
            self.need(min(self.position, max(self.size - BLOCK, 0)) if end == self.size else self.position, end)
        data = os.pread(self.file, end - self.position, self.position)
        self.position += len(data)
        return data


def merged(spans):
    """Sorted spans with touching ones joined."""
    joined = []
    for a, b in sorted(spans):
        if joined and a <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], b))
        elif a < b:
            joined.append((a, b))
    return joined
