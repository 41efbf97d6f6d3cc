"""Entry of the lab's `docker` program."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from bwlab.host import trouble
from bwlab.host.docker_cli import Docker
from bwlab.host.engine import Engine, EngineError, say
from bwlab.host.go_template import TemplateError


def main(arguments: list[str]) -> int:
    engine = Engine(Path(os.environ["BWLAB_DIR"]), os.environ["BWLAB_HOST"])
    try:
        trouble.meet(engine, arguments)
        code = Docker(engine).run(arguments)
        sys.stdout.flush()
        return code
    except EngineError as error:
        sys.stdout.flush()
        say(str(error))
        return error.code
    except TemplateError as error:
        say(f"template parsing error: {error}")
        return 64
    except BrokenPipeError:
        # Whoever read the output has gone; nothing may be written at the exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
