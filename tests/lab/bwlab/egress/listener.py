# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""listener.py PORT…: accepts connections at every address, says nothing, closes; for the internet's container."""

from __future__ import annotations

import selectors
import socket
import sys


def main() -> None:
    selector = selectors.DefaultSelector()
    for port in sys.argv[1:]:
        server = socket.create_server(("::", int(port)), family=socket.AF_INET6, backlog=1000, dualstack_ipv6=True)
        server.setblocking(False)
        selector.register(server, selectors.EVENT_READ)
    while True:
        for key, _events in selector.select():
            listening = key.fileobj
            if isinstance(listening, socket.socket):
                try:
                    connection, _address = listening.accept()
                except OSError:
                    continue
                connection.close()


main()
