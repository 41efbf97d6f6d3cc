# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Beginning and end of a world for firewalls, and what tests do on its hosts."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from bwlab import lifecycle
from bwlab.docker import hosts as machines
from bwlab.docker import install, needs
from bwlab.docker.outer import NETWORK, OuterError
from bwlab.egress import image
from bwlab.egress.internet import Internet
from bwlab.egress.outer import WorldOuter

BACKENDS = ("firewalld", "ufw", "nftables", "iptables", "none")
PATHS = ("host", "containers", "setup", "internal")
SERVICES = ("docker", "ssh")
READY_SECONDS = 180.0
REACH = "python3 /usr/local/sbin/world-reach"
ENGINE = {
    "experimental": True, "ip6tables": True, "ipv6": True, "fixed-cidr-v6": "fd00:30::/64", "bip": "172.30.0.1/24",
}  # fmt: skip
Check = tuple[str, int, int | None]


class World:
    """The names of its hosts are those of the firewalls that close them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.resolve()
        self.outer = WorldOuter(self.directory)
        self.internet = Internet(self.directory, self.outer)

    @property
    def hosts(self) -> list[str]:
        return sorted(json.loads((self.directory / "world.json").read_text(encoding="utf-8"))["hosts"])

    def up(self, hosts: Sequence[str]) -> None:
        """Makes a world, or starts one that was ended."""
        needs.check()
        again = (self.directory / "world.json").is_file()
        tar = image.tar()
        self.directory.mkdir(parents=True, exist_ok=True)
        try:
            if again:
                self.outer.check_network()
            self.outer.start()
            if not again:
                self._make(tar, hosts)
            self.internet.start()
            self.start(self.hosts)
        except BaseException:
            self.outer.stop()
            raise

    def _make(self, tar: Path, hosts: Sequence[str]) -> None:
        self.outer.make_network()
        changes = ["--change", 'CMD ["/sbin/init"]', "--change", "ENV container=docker"]
        self.outer.docker("import", *changes, str(tar), machines.IMAGE)
        self.internet.create()
        keys = self.directory / "ssh"
        keys.mkdir(mode=0o700)
        authorized = install.new_key(keys / "id_ed25519")
        ports, known = {}, ""
        for name in hosts:
            with lifecycle.listen() as free:
                ports[name] = free.getsockname()[1]
            known += f"[127.0.0.1]:{ports[name]} {self._create(name, ports[name], authorized)}\n"
        (keys / "known_hosts").write_text(known, encoding="utf-8")
        install.ssh_config(keys, ports)
        self._inventory(ports)
        (self.directory / "world.json").write_text(json.dumps({"hosts": ports}), encoding="utf-8")

    def _create(self, name: str, ssh_port: int, authorized: str) -> str:
        """The public key of its ssh server."""
        home = self.directory / "hosts" / name
        machine = home / "machine"
        machine.mkdir(parents=True, mode=0o700)
        (home / "engine").mkdir(mode=0o711)
        (machine / "ca.crt").write_bytes((self.directory / "ca.pem").read_bytes())
        (machine / "authorized_keys").write_text(f"{authorized}\n", encoding="utf-8")
        (machine / "daemon.json").write_text(json.dumps(ENGINE), encoding="utf-8")
        four, six = self.outer.internet()
        (machine / "network").write_text(f"INTERNET4={four}\nINTERNET6={six}\n", encoding="utf-8")
        command = ["create", "--pull", "never", "--name", name, "--hostname", name, "--network", NETWORK]
        command += ["--stop-signal", "SIGRTMIN+3", "--cgroupns", "private"]
        command += [word for part in machines.UNCONFINED for word in ("--security-opt", f"{part}=unconfined")]
        command += [word for part in machines.CAPABILITIES for word in ("--cap-add", part)]
        command += ["--tmpfs", "/run", "--tmpfs", "/run/lock", "--tmpfs", "/tmp:exec"]
        command += ["--volume", f"{home / 'engine'}:/var/lib/docker", "--volume", f"{machine}:/var/lib/bwlab/host"]
        command += ["--publish", f"127.0.0.1:{ssh_port}:{machines.SSH_PORT}"]
        self.outer.docker(*command, machines.IMAGE)
        return install.new_key(machine / install.SERVER_KEY)

    def _inventory(self, ports: dict[str, int]) -> None:
        keys = self.directory / "ssh"
        shared = {
            "ansible_host": "127.0.0.1",
            "ansible_user": "bitwarden",
            "ansible_become": True,
            "ansible_ssh_private_key_file": str(keys / "id_ed25519"),
            "ansible_ssh_common_args": (
                f"-o IdentitiesOnly=yes -o StrictHostKeyChecking=yes -o UserKnownHostsFile={keys / 'known_hosts'}"
            ),
            "ansible_python_interpreter": "/usr/bin/python3",
        }
        hosts: dict[str, dict[str, Any]] = {name: {"ansible_port": port} for name, port in ports.items()}
        text = yaml.safe_dump({"bitwarden": {"hosts": hosts, "vars": shared}}, sort_keys=False, width=200)
        (self.directory / "inventory.yml").write_text(f"---\n{text}", encoding="utf-8")

    def start(self, names: Sequence[str]) -> None:
        """Hosts that have booted, with their containers."""
        self.outer.docker("start", *names)
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(self._ready, names))

    def reboot(self, name: str) -> None:
        """In order; what comes back is what the host itself brings back."""
        self.outer.docker("stop", "--time", "30", name)
        self.start([name])

    def _ready(self, name: str) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not self._booted(name):
            if time.monotonic() > deadline:
                told = self.sh(name, "systemctl --no-pager --failed; systemctl list-jobs", check=False)
                raise OuterError(f"the host {name} did not start:\n{told[-3000:]}")
            time.sleep(0.3)
        self.sh(name, "/usr/local/sbin/world-containers")

    def _booted(self, name: str) -> bool:
        state = self.sh(name, "systemctl is-system-running; systemctl is-active docker ssh", check=False).split()
        return state in (["running", "active", "active"], ["degraded", "active", "active"])

    def sh(self, name: str, script: str, *, data: str | None = None, check: bool = True) -> str:
        """As root, past every firewall."""
        command = ["docker", "--host", f"unix://{self.outer.socket}", "exec", "--interactive", name, "sh", "-c", script]
        done = subprocess.run(command, input=data or "", capture_output=True, text=True, check=False)
        if check and done.returncode:
            raise OuterError(f"{name}: {script}: {done.stderr.strip()[-2000:]}")
        return done.stdout.strip()

    def reach(self, name: str, path: str, checks: Sequence[Check]) -> list[str]:
        """Real TCP connects: `open`, `closed`, `partly` (of a name with several addresses) or `no name`."""
        told: list[str] = json.loads(self.sh(name, f"{REACH} {path}", data=json.dumps(checks)))
        return told

    def watch(self, name: str, path: str, addresses: Sequence[str], port: int, seconds: float) -> tuple[int, int]:
        """How often it was tried, and how often none of the addresses was open."""
        checks = json.dumps([[",".join(addresses), port, None]])
        tried, shut, _longest = json.loads(self.sh(name, f"{REACH} {path} {seconds}", data=checks))[0]
        return tried, shut

    def down(self) -> None:
        """Also where it never got as far as having hosts."""
        if (self.directory / "world.json").exists() and self.outer.engine.answers():
            self.outer.docker("stop", "--time", "20", *self.hosts, check=False)
        self.outer.stop()
