"""Meshes of real nodes, started and stopped by the program that users have for it."""

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Fixed, so that a mesh finds the folder and certificates of the run before.
BASE_PORTS = range(15_000, 20_000, 400)


def skein(*words: str, check: bool = True) -> str:
    """Calls the program `skein`, and answers what it prints."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    built = target / "release" / "skein"
    if "SKEIN_BIN" in os.environ:
        program = [os.environ["SKEIN_BIN"]]
    else:
        program = [str(built)] if built.exists() else ["cargo", "skein"]
    done = subprocess.run([*program, *words], cwd=ROOT, capture_output=True, text=True, timeout=90)
    if check and done.returncode != 0:
        raise RuntimeError(done.stderr)
    return done.stdout


def is_free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True


class Mesh:
    """A running mesh; `nodes` is a list of `{id, url, ws}`."""

    def __init__(self, nodes: int, settings: dict[str, str]) -> None:
        words = ["up", "--detach", "--json", "--skip-build", "--nodes", str(nodes)]
        for key, value in settings.items():
            words += ["--set", f"{key}={value}"]
        for base in BASE_PORTS:
            if not all(is_free(base + index) for index in range(nodes)):
                continue
            try:
                self.nodes = json.loads(skein(*words, "--base-port", str(base)))["nodes"]
            except RuntimeError as error:
                # Somebody was quicker: the next ones.
                if "is in use" in str(error) or "runs at port" in str(error):
                    continue
                raise
            self.base = base
            return
        raise RuntimeError(f"no free ports for a mesh in {BASE_PORTS}")

    def stop(self, keep: bool = False) -> None:
        """Stops all nodes; `keep` leaves the folder with their logs."""
        skein("down", "--base-port", str(self.base))
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def folder(self) -> Path:
        return ROOT / "target" / "skein" / f"mesh-{self.base}"

    def api(self, path: str, node: int = 0) -> dict | None:
        """Answers the JSON of an operator's request to a node; nothing where it says 404."""
        try:
            with urllib.request.urlopen(f"{self.nodes[node]['url']}/v1{path}", timeout=5) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise

    def hosts(self, room: str) -> dict[str, str]:
        """Which node holds the transports of which peer."""
        detail = self.api(f"/rooms/{room}")
        assert detail is not None, f"there is no room {room}"
        return {peer["id"]: peer["host"] for peer in detail["peers"]}

    def wait_until_empty(self, timeout: float = 20) -> None:
        """Waits until no node holds anything of any room any more."""
        end = time.monotonic() + timeout
        while left := self._leftovers():
            assert time.monotonic() < end, f"still there: {left}"
            time.sleep(0.2)

    def _leftovers(self) -> list[str]:
        counts = ("sessions", "sockets", "routers", "transports", "producers", "consumers", "data_producers")
        counts += ("data_consumers", "pipe_transports", "data_pipes")
        left = []
        for index in range(len(self.nodes)):
            detail = self.api("/node", index)
            left += [f"{detail['id']}: {detail[count]} {count}" for count in counts if detail[count]]
            left += [f"{detail['id']}: {detail['pipes']}"] if detail["pipes"] else []
        return left + [f"room {room['id']}" for room in self.api("/rooms")["rooms"]]
