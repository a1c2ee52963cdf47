"""Real TCP in flight: `tcp.py serve ADDRESS` echoes; `tcp.py hold ADDRESS BULK IDLE ASKING` holds connections.

Of those, BULK always have a block under way, ASKING send a byte every 50 ms, IDLE say nothing. Commands on standard input:
`report`: what broke, and the longest wait for an answer; `wake`: sends a byte on idle ones too, and reports once all answered
or 10 s passed; `open N`: that many more idle ones, each with one byte answered.
"""

import json
import selectors
import socket
import sys
import time

BLOCK = bytes(8192)
PATIENCE_S = 10


def say(**what):
    print(json.dumps(what), flush=True)


def serve(address):
    listener = socket.create_server((address, 80), backlog=512)
    poll = selectors.DefaultSelector()
    poll.register(listener, selectors.EVENT_READ)
    say(event="ready")
    while True:
        for key, _ in poll.select():
            if key.fileobj is listener:
                peer, _ = listener.accept()
                poll.register(peer, selectors.EVENT_READ)
                continue
            try:
                data = key.fileobj.recv(65536)
                key.fileobj.sendall(data)
            except OSError:
                data = b""
            if not data:
                poll.unregister(key.fileobj)
                key.fileobj.close()


class Peer:
    def __init__(self, address, kind):
        self.socket = socket.create_connection((address, 80), timeout=5)
        self.kind = kind
        self.waiting = 0
        self.since = time.monotonic()
        self.next = 0.0
        self.error = None

    def ask(self, data):
        self.since = time.monotonic()
        try:
            self.socket.send(data)
            self.waiting += len(data)
        except OSError as error:
            self.error = str(error)

    def read(self):
        try:
            data = self.socket.recv(65536)
            self.error = None if data else "end of stream"
            self.waiting -= len(data)
        except OSError as error:
            self.error = str(error)


class Holder:
    def __init__(self, address, kinds):
        self.address = address
        self.poll = selectors.DefaultSelector()
        self.peers = []
        self.longest = 0.0
        for kind, count in kinds:
            for _ in range(count):
                self.open(kind)

    def open(self, kind):
        peer = Peer(self.address, kind)
        self.peers.append(peer)
        self.poll.register(peer.socket, selectors.EVENT_READ, peer)
        peer.ask(b"x")

    def step(self):
        now = time.monotonic()
        for peer in self.peers:
            if peer.error or peer.waiting:
                continue
            if peer.kind == "bulk":
                peer.ask(BLOCK)
            elif peer.kind == "asking" and peer.next <= now:
                peer.next = now + 0.05
                peer.ask(b"x")
        for key, _ in self.poll.select(0.01):
            if key.data is None:
                return sys.stdin.readline().split()
            peer = key.data
            peer.read()
            if peer.error:
                self.poll.unregister(peer.socket)
            else:
                self.longest = max(self.longest, time.monotonic() - peer.since)
        return None

    def report(self, event):
        now = time.monotonic()
        broken = [p for p in self.peers if p.error or (p.waiting and now - p.since > PATIENCE_S)]
        causes = sorted({f"{p.kind}: {p.error or 'no progress'}" for p in broken})
        say(event=event, of=len(self.peers), broken=len(broken), causes=causes, longest_ms=round(self.longest * 1000))
        self.longest = 0.0

    def settle(self, seconds):
        end = time.monotonic() + seconds
        started = time.monotonic()
        while time.monotonic() < end and any(p.waiting and not p.error and p.since <= started for p in self.peers):
            self.step()


def hold(address, counts):
    holder = Holder(address, list(zip(("bulk", "idle", "asking"), counts)))
    holder.settle(PATIENCE_S)
    holder.poll.register(sys.stdin, selectors.EVENT_READ, None)
    holder.report("ready")
    while True:
        words = holder.step()
        if words is None:
            continue
        if not words:
            return
        if words[0] == "open":
            for _ in range(int(words[1])):
                holder.open("idle")
            holder.settle(PATIENCE_S)
        elif words[0] == "wake":
            for peer in holder.peers:
                if not peer.error and not peer.waiting:
                    peer.ask(b"x")
            holder.settle(PATIENCE_S + 1)
        holder.report(words[0])


if sys.argv[1] == "serve":
    serve(sys.argv[2])
else:
    hold(sys.argv[2], [int(count) for count in sys.argv[3:]])
