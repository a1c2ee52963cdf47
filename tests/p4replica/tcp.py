"""Real TCP between two namespaces: `tcp.py serve` echoes; `tcp.py hold N` keeps N connections busy and takes commands.

`check SECONDS` sends a byte on every connection and says how many answered in time; `open N` opens more; `close` ends all.
"""

import json
import select
import socket
import sys
import time

ADDRESS = ("198.51.100.10", 80)


def say(**what):
    print(json.dumps(what), flush=True)


def serve():
    listener = socket.create_server(ADDRESS, backlog=256)
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    there = {}
    say(event="ready")
    while True:
        for number, _ in poll.poll():
            if number == listener.fileno():
                peer, _ = listener.accept()
                there[peer.fileno()] = peer
                poll.register(peer, select.EPOLLIN)
                continue
            peer = there[number]
            try:
                data = peer.recv(4096)
                peer.sendall(data)
            except OSError:
                data = b""
            if not data:
                poll.unregister(number)
                there.pop(number).close()


def check(peers, seconds):
    """How many answered, and after how long the last one."""
    began = time.monotonic()
    waiting = {}
    for peer in peers:
        try:
            peer.send(b"x")
            waiting[peer.fileno()] = peer
        except OSError:
            pass
    answered = 0
    last = 0.0
    while waiting and time.monotonic() < began + seconds:
        ready, _, _ = select.select(list(waiting.values()), [], [], 0.05)
        for peer in ready:
            waiting.pop(peer.fileno())
            try:
                if peer.recv(4096):
                    answered += 1
                    last = time.monotonic() - began
            except OSError:
                pass
    say(event="check", answered=answered, of=len(peers), last_ms=round(last * 1000))


def hold(count):
    peers = [socket.create_connection(ADDRESS, timeout=10) for _ in range(count)]
    say(event="ready")
    for line in sys.stdin:
        words = line.split()
        if words[0] == "check":
            check(peers, float(words[1]))
        elif words[0] == "open":
            peers += [socket.create_connection(ADDRESS, timeout=10) for _ in range(int(words[1]))]
            say(event="open")
        else:
            for peer in peers:
                peer.close()
            peers = []
            say(event="close")


if sys.argv[1] == "serve":
    serve()
else:
    hold(int(sys.argv[2]))
