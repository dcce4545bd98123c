"""What the scripts `meson`, `python` and `prepare` in this folder share.

Only the standard library: these scripts run before anything has been installed.
"""

import contextlib
import fcntl
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Iterator, List, NamedTuple, NoReturn, Optional, Tuple

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
# Always the repository's own target folder, never CARGO_TARGET_DIR: every build of this clone, whatever its target
# folder, shares one venv and one copy of the sources.
WORK = REPOSITORY / "target" / "worker"
VENV = WORK / "venv"
WHEELS = WORK / "wheels"
LIBSRTP2 = WORK / "libsrtp2"
REQUIREMENTS = HERE / "requirements.txt"

# The static libraries that go into the worker, by overlay project: the package, a header of it, and the archives. An
# archive has several names where distributions disagree.
LIBRARIES = {
    "libuv": ("libuv1-dev", "uv.h", [("libuv_a.a", "libuv.a")]),
    "openssl": ("libssl-dev", "openssl/ssl.h", [("libcrypto.a",), ("libssl.a",)]),
    "flatbuffers": ("libflatbuffers-dev", "flatbuffers/flatbuffers.h", [("libflatbuffers.a",)]),
}


class Part(NamedTuple):
    """One thing that the build of the worker needs."""

    name: str
    ok: bool
    why: str  # what it is for, and what is wrong if it is not ok
    fix: str  # the command that brings it


def say(text: str) -> None:
    print(f"skein worker: {text}", file=sys.stderr, flush=True)


def fail(missing: str, fix: str) -> NoReturn:
    """Ends the script with one line: the build log is long, and this is the line to find in it."""
    say(f"ERROR: {missing}; run: {fix}")
    sys.exit(1)


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Two builds of one clone (debug and release, say) must not prepare the same folder at the same time."""
    WORK.mkdir(parents=True, exist_ok=True)
    with open(WORK / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def upstream_wraps() -> bool:
    """Whether the user asked for upstream's own subprojects, downloaded by meson, instead of this overlay."""
    return os.environ.get("SKEIN_UPSTREAM_WRAPS") == "1"


def output_of(command: List[str]) -> Optional[str]:
    """What a command prints, or None if it cannot be started or fails."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def compiler() -> str:
    return os.environ.get("CXX") or "c++"


def find_archive(names: Tuple[str, ...]) -> Optional[Path]:
    """The path of a static library. The compiler knows where the distribution keeps them for this processor."""
    for name in names:
        path = output_of([compiler(), f"-print-file-name={name}"])
        # The compiler answers with the bare name when it does not know the file.
        if path and os.path.isabs(path) and os.path.isfile(path):
            return Path(path).resolve()
    return None


def has_header(header: str) -> bool:
    command = [compiler(), "-x", "c++", "-E", "-include", header, os.devnull, "-o", os.devnull]
    return output_of(command) is not None


def pinned(name: str) -> str:
    """The version of a tool in requirements.txt."""
    match = re.search(rf"^{name}==(\S+)", REQUIREMENTS.read_text(), re.MULTILINE)
    assert match, f"{name} is not in {REQUIREMENTS}"
    return match.group(1)


def venv_stamp() -> str:
    """What the venv was made from and where. A moved clone or a new pin makes the stamp, and so the venv, stale."""
    return f"{VENV}\n{REQUIREMENTS.read_text()}"


def venv_is_ready() -> bool:
    stamp = VENV / "skein-stamp"
    if not stamp.is_file() or stamp.read_text() != venv_stamp():
        return False
    # A venv dies with the Python that it was made from, so ask it.
    return output_of([str(VENV / "bin" / "meson"), "--version"]) == pinned("meson")


def libsrtp2_version() -> Optional[str]:
    """The version of the libsrtp2 sources in place, or None. The folder gets its name last, after a complete unpacking."""
    stamp = LIBSRTP2 / "skein-stamp"
    return stamp.read_text().strip() if stamp.is_file() else None


def library_part(project: str) -> Part:
    package, header, archives = LIBRARIES[project]
    missing = [names[0] for names in archives if find_archive(names) is None]
    if not has_header(header):
        missing.append(header)
    why = f"headers and static library of {project} for the worker"
    return Part(package, not missing, why + (f": no {', '.join(missing)}" if missing else ""), f"apt-get install -y {package}")


def program_part(package: str, programs: List[str], why: str) -> Part:
    missing = [program for program in programs if shutil.which(program) is None]
    return Part(package, not missing, why + (f": no {', '.join(missing)}" if missing else ""), f"apt-get install -y {package}")


def package_parts() -> List[Part]:
    """What has to come from the distribution. It asks for the thing itself, not for dpkg's opinion of it: a library
    built by hand or a package of another name is as good."""
    can_make_venv = all(importlib.util.find_spec(module) for module in ("venv", "ensurepip"))
    return [
        program_part("build-essential", [compiler(), "cc", "ar"], "C and C++ compiler for the worker"),
        program_part("dpkg-dev", ["dpkg-source", "patch"], "unpacks the libsrtp2 sources and applies patches"),
        program_part("pkg-config", ["pkg-config"], "tells which further libraries OpenSSL needs"),
        library_part("libuv"),
        library_part("openssl"),
        library_part("flatbuffers"),
        program_part("flatbuffers-compiler", ["flatc"], "generates the worker's message headers"),
        venv_part(can_make_venv),
    ]


def venv_part(can_make_venv: bool) -> Part:
    why = "makes the venv that meson lives in"
    return Part("python3-venv", can_make_venv, why + ("" if can_make_venv else ": no ensurepip"), "apt-get install -y python3-venv")


def prepared_parts() -> List[Part]:
    """What `prepare` brings."""
    tools = ", ".join(f"{name} {pinned(name)}" for name in ("meson", "ninja", "invoke"))
    version = libsrtp2_version()
    fix = str(HERE / "prepare")
    return [
        Part("meson venv", venv_is_ready(), f"{tools} from PyPI in {VENV}", fix),
        Part(
            "libsrtp2 source",
            version is not None,
            f"SRTP for the worker, from the distribution's source package: {version or 'not there yet'}",
            fix,
        ),
    ]


def require(parts: List[Part]) -> None:
    """Ends the script if a package is missing, naming all that are and the one line that brings them."""
    missing = [part for part in parts if not part.ok]
    if missing:
        packages = " ".join(part.name for part in missing)
        reasons = "; ".join(f"{part.name} ({part.why})" for part in missing)
        fail(f"missing {reasons}", f"apt-get install -y {packages} (`cargo skein doctor` checks everything)")


def ensure_prepared(*arguments: str) -> None:
    """Runs `prepare`, which does nothing that has been done. Its output is the user's."""
    if subprocess.run([sys.executable, str(HERE / "prepare"), *arguments]).returncode != 0:
        # `prepare` has said why.
        sys.exit(1)


def tool_environment() -> dict:
    """The environment for the real meson."""
    environment = dict(os.environ)
    # tasks.py points NINJA into a folder that it fills only when it installs meson by itself.
    environment["NINJA"] = str(VENV / "bin" / "ninja")
    # PYTHONPATH holds the packages of the build's `invoke`: not meson's business, and not for another Python.
    environment.pop("PYTHONPATH", None)
    return environment
