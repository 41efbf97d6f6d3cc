"""Options of the compose commands: those that take a value, and those that do not."""

from __future__ import annotations

GLOBAL_VALUES = (
    "-f",
    "--file",
    "-p",
    "--project-name",
    "--project-directory",
    "--env-file",
    "--profile",
    "--progress",
    "--ansi",
    "--parallel",
)
GLOBAL_FLAGS = ("--compatibility", "--dry-run", "--all-resources")
VALUES: dict[str, tuple[str, ...]] = {
    "config": ("--format", "-o", "--output", "--hash"),
    "ps": ("--format", "--filter", "--status", "--orphans"),
    "logs": ("--tail", "-n", "--since", "--until", "--index"),
    "exec": ("-u", "--user", "-e", "--env", "-w", "--workdir", "--index"),
    "up": ("-t", "--timeout", "--pull", "--scale", "--wait-timeout"),
    "down": ("-t", "--timeout", "--rmi"),
    "stop": ("-t", "--timeout"),
    "restart": ("-t", "--timeout"),
    "pull": ("--policy",),
    "ls": ("--format", "--filter"),
    "version": ("-f", "--format"),
}
FLAGS: dict[str, tuple[str, ...]] = {
    "config": (
        "-q",
        "--quiet",
        "--services",
        "--images",
        "--environment",
        "--no-interpolate",
        "--no-normalize",
        "--no-consistency",
    ),
    "ps": ("-a", "--all", "-q", "--quiet", "--services", "--no-trunc"),
    "logs": ("-f", "--follow", "--no-color", "--no-log-prefix", "-t", "--timestamps"),
    "exec": ("-T", "--no-tty", "-d", "--detach", "--privileged", "-i", "--interactive", "-t"),
    "up": (
        "-d",
        "--detach",
        "--wait",
        "--force-recreate",
        "--no-recreate",
        "--no-deps",
        "--quiet-pull",
        "--remove-orphans",
        "--no-build",
    ),
    "down": ("-v", "--volumes", "--remove-orphans"),
    "pull": ("-q", "--quiet", "--ignore-pull-failures", "--include-deps", "--no-parallel"),
    "ls": ("-a", "--all", "-q", "--quiet"),
    "version": ("--short",),
    "restart": ("--no-deps",),
    "start": ("--wait",),
}
