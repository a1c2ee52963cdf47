#!/usr/bin/env python3
"""Load and measurement inside one namespace of a test fabric; Python's standard library only.

Commands are read from standard input, one a line; answers and reports are JSON objects, one a line, whose "event"
names the command that they answer. End of input means: finish, say {"event": "done", ...}, leave.
Times are wall-clock seconds, the same for every process of a machine.
"""

import argparse
import asyncio
import json
import random
import socket
import struct
import sys
import time

RST_ON_CLOSE = struct.pack("ii", 1, 0)
# A SYN that is dropped is sent again after one second, and after three. An attempt ends before the third.
CONNECT_PATIENCE_S = 2.9
# CONTRACT: broken is an RST, or no byte of progress for ten seconds.
STALL_S = 10.0


def say(event, **fields):
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


async def commands():
    """Yields words of each line of standard input."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        yield line.decode().split()


def endpoint(text):
    address, _, port = text.rpartition(":")
    return address, int(port)


class Echo(asyncio.Protocol):
    """Server side of one TCP connection."""

    def __init__(self, totals):
        self.totals = totals

    def connection_made(self, transport):
        self.transport = transport
        self.totals["accepted"] += 1
        self.totals["open"] += 1

    def data_received(self, data):
        self.totals["bytes"] += len(data)
        self.transport.write(data)

    def connection_lost(self, error):
        self.totals["open"] -= 1
        if error is not None:
            self.totals["resets"] += 1


class Sink(asyncio.DatagramProtocol):
    """Counts datagrams; answers those that ask for it by their first byte."""

    def __init__(self, totals):
        self.totals = totals

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, sender):
        self.totals["datagrams"] += 1
        if data[:1] == b"?":
            self.transport.sendto(data, sender)


async def serve(options):
    totals = {"accepted": 0, "open": 0, "resets": 0, "bytes": 0, "datagrams": 0}
    loop = asyncio.get_running_loop()
    for port in range(options.port, options.port + options.ports):
        await loop.create_server(lambda: Echo(totals), "0.0.0.0", port, backlog=4096)
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)  # SO_RCVBUFFORCE
        udp.setblocking(False)
        udp.bind(("0.0.0.0", port))
        await loop.create_datagram_endpoint(lambda: Sink(totals), sock=udp)
    say("ready")
    async for words in commands():
        say(words[0], **totals)
    say("done", **totals)


class Client:
    """Client side of one connection, with its own check bytes."""

    def __init__(self, sock):
        self.sock = sock
        self.sent = 0
        self.last_packet = time.time()
        self.broken = None

    async def exchange(self, patience=STALL_S, size=8):
        """Sends a numbered record and wants it back; returns how long that took."""
        loop = asyncio.get_running_loop()
        started = time.time()
        self.sent += 1
        record = struct.pack("!Q", self.sent) * (size // 8)
        try:
            async with asyncio.timeout(patience):
                await loop.sock_sendall(self.sock, record)
                answer = b""
                while len(answer) < len(record):
                    part = await loop.sock_recv(self.sock, len(record) - len(answer))
                    if not part:
                        raise ConnectionError("closed by the server")
                    answer += part
            if answer != record:
                self.broken = "wrong bytes"
        except TimeoutError:
            self.broken = "stall"
        except ConnectionResetError:
            self.broken = "reset"
        except OSError as error:
            self.broken = str(error)
        self.last_packet = time.time()
        return self.last_packet - started

    def close(self, abort=False):
        if abort:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST_ON_CLOSE)
        self.sock.close()


async def connect(address, patience=CONNECT_PATIENCE_S, source_port=0):
    """A connected client, or None if nobody answered. Source port 0 leaves the choice to the kernel."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        if source_port:
            sock.bind(("", source_port))
        await asyncio.wait_for(asyncio.get_running_loop().sock_connect(sock, address), patience)
        return Client(sock)
    except (TimeoutError, OSError):
        sock.close()
        return None


class Tally:
    """What became of a group of connections."""

    def __init__(self):
        self.counts = {"attempted": 0, "opened": 0, "refused": 0, "resets": 0, "stalls": 0, "other": 0}
        self.longest = 0.0

    def broken(self, client):
        if client.broken:
            key = {"reset": "resets", "stall": "stalls"}.get(client.broken, "other")
            self.counts[key] += 1

    def report(self):
        return {**self.counts, "longest_ms": round(self.longest * 1000, 1)}


async def hold(options):
    """Opens connections and keeps them: some exchange a record each interval, some are idle until asked."""
    address, tally, clients = endpoint(options.to), Tally(), []
    stop = asyncio.Event()

    async def busy(client):
        while not stop.is_set() and not client.broken:
            tally.longest = max(tally.longest, await client.exchange())
            if client.broken:
                tally.broken(client)
                return
            try:
                await asyncio.wait_for(stop.wait(), options.interval * random.uniform(0.8, 1.2))
            except TimeoutError:
                pass

    say("ready")
    tasks = []

    async def open_one(stays_idle):
        tally.counts["attempted"] += 1
        client = await connect(address)
        if client is None:
            tally.counts["refused"] += 1
            return
        tally.counts["opened"] += 1
        clients.append(client)
        tally.longest = max(tally.longest, await client.exchange())
        if client.broken:
            tally.broken(client)
        elif not stays_idle:
            tasks.append(asyncio.create_task(busy(client)))

    async def open_more(count, idle):
        opening = []
        for number in range(count):
            opening.append(asyncio.create_task(open_one(number < idle)))
            await asyncio.sleep(1 / options.rate)
        await asyncio.gather(*opening)

    async for words in commands():
        match words:
            case ["open", count, idle]:  # the first `idle` of them stay idle
                await open_more(int(count), int(idle))
            case ["check"]:  # every connection, idle ones too, once more
                stop.set()
                await asyncio.gather(*tasks)
                tasks.clear()
                alive = [client for client in clients if not client.broken]
                spans = await asyncio.gather(*(client.exchange() for client in alive))
                tally.longest = max([tally.longest, *spans])
                for client in alive:
                    tally.broken(client)
            case ["close", how, count]:  # fin, rst; the oldest first
                for client in clients[: int(count)]:
                    client.close(abort=how == "rst")
                del clients[: int(count)]
        say(words[0], held=len(clients), **tally.report())
    stop.set()
    await asyncio.gather(*tasks)
    for client in clients:
        client.close()
    say("done", **tally.report())


async def flight(options):
    """Connections in flight of three kinds: of ten one is bulk, five ask and answer, four are idle until asked."""
    address, tally, clients, tasks = endpoint(options.to), Tally(), [], []
    stop = asyncio.Event()

    async def busy(client, size):
        while not stop.is_set() and not client.broken:
            tally.longest = max(tally.longest, await client.exchange(size=size))
            if client.broken:
                tally.broken(client)
                client.broken = "counted"
                return
            try:
                await asyncio.wait_for(stop.wait(), options.interval * random.uniform(0.8, 1.2))
            except TimeoutError:
                pass

    async def open_one(number):
        tally.counts["attempted"] += 1
        client = await connect(address)
        if client is None:
            tally.counts["refused"] += 1
            return
        tally.counts["opened"] += 1
        clients.append(client)
        await client.exchange()
        if client.broken:
            tally.broken(client)
            client.broken = "counted"
        elif number % 10 == 0:
            tasks.append(asyncio.create_task(busy(client, options.bulk)))
        elif number % 10 < 6:
            tasks.append(asyncio.create_task(busy(client, 64)))

    say("ready")
    async for words in commands():
        match words:
            case ["open", count]:
                opening = []
                for number in range(int(count)):
                    opening.append(asyncio.create_task(open_one(number)))
                    await asyncio.sleep(1 / options.rate)
                await asyncio.gather(*opening)
            case ["mark"]:  # from now on the longest exchange is measured
                tally.longest = 0.0
            case ["check"]:  # every connection, idle ones too, once more; the longest is of those before
                alive = [client for client in clients if not client.broken]
                stop.set()
                await asyncio.gather(*tasks)
                tasks.clear()
                stop.clear()
                await asyncio.gather(*(client.exchange() for client in alive if not client.broken))
                for client in alive:
                    if client.broken and client.broken != "counted":
                        tally.broken(client)
                        client.broken = "counted"
            case ["resume"]:
                for number, client in enumerate(clients):
                    if not client.broken and number % 10 < 6:
                        tasks.append(asyncio.create_task(busy(client, options.bulk if number % 10 == 0 else 64)))
        say(words[0], held=len(clients), **tally.report())
    stop.set()
    await asyncio.gather(*tasks)
    for client in clients:
        client.close()
    say("done", **tally.report())


def rate_at(profile, t):
    """Piecewise linear through (seconds, connections a second)."""
    for (t0, r0), (t1, r1) in zip(profile, profile[1:]):
        if t <= t1:
            return r0 + (r1 - r0) * max(0.0, t - t0) / (t1 - t0)
    return profile[-1][1]


async def churn(options):
    """Open-loop Poisson arrivals by a rate profile; each connection lives, exchanges now and then, and ends."""
    address, tally, rng = endpoint(options.to), Tally(), random.Random(options.seed)
    profile = [tuple(map(float, point.split(":"))) for point in options.rate.split(",")]
    living, vanished, tasks = set(), [], set()
    stop = asyncio.Event()

    async def one(duration, abort, vanish):
        tally.counts["attempted"] += 1
        client = await connect(address)
        if client is None:
            tally.counts["refused"] += 1
            return
        tally.counts["opened"] += 1
        living.add(client)
        ends = time.time() + duration
        try:
            while True:
                tally.longest = max(tally.longest, await client.exchange())
                if client.broken:
                    tally.broken(client)
                    abort = True
                    return
                if vanish:
                    # Never a packet again: only its time-out can free the router's entry.
                    vanished.append(client)
                    return
                left = ends - time.time()
                if left <= 0:
                    return
                try:
                    await asyncio.wait_for(stop.wait(), min(left, options.interval))
                except TimeoutError:
                    pass
                if stop.is_set():
                    return
        finally:
            if not vanish or client.broken:
                living.discard(client)
                client.close(abort)

    def active():
        """Connections that a router should hold now; those silent for longer than its time-out are forgotten."""
        now = time.time()
        forgotten = [client for client in vanished if now - client.last_packet > options.idle_timeout]
        for client in forgotten:
            vanished.remove(client)
            living.discard(client)
            silent.append(client)
        return len(living)

    silent = []

    async def report():
        while not stop.is_set():
            say("active", t=time.time(), active=active(), **tally.report())
            await asyncio.sleep(options.report)

    async def arrivals():
        await asyncio.sleep(max(0.0, options.start - time.time()))
        started = time.time()
        t = 0.0
        # Thinning: candidates at the highest rate, each kept with the probability that the profile says.
        most = max(rate for _, rate in profile)
        while t < profile[-1][0] and not stop.is_set():
            t += rng.expovariate(most)
            keep, duration = rng.random() < rate_at(profile, t) / most, rng.expovariate(1 / options.duration)
            abort, vanish = rng.random() < options.abort, rng.random() < options.vanish
            if not keep:
                continue
            await asyncio.sleep(max(0.0, started + t - time.time()))
            task = asyncio.create_task(one(duration, abort, vanish))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        say("profile-over", t=time.time(), **tally.report())

    say("ready")
    reporter, opener = asyncio.create_task(report()), asyncio.create_task(arrivals())
    async for words in commands():
        say(words[0], t=time.time(), active=active(), **tally.report())
    stop.set()
    await asyncio.gather(reporter, opener, *tasks)
    say("done", **tally.report())


async def burst(options):
    """`go COUNT RATE PORT`: so many short TCP connections, or single-datagram UDP flows, each a new 5-tuple."""
    address, _ = endpoint(options.to)
    say("ready")
    next_port = options.first_port

    async def tcp(target, tally, source_port):
        tally.counts["attempted"] += 1
        client = await connect(target, 5.0, source_port)
        if client is None:
            tally.counts["refused"] += 1
            return
        tally.counts["opened"] += 1
        tally.longest = max(tally.longest, await client.exchange())
        tally.broken(client)
        client.close(abort=True)

    async for words in commands():
        count, rate, target, tally = int(words[1]), float(words[2]), (address, int(words[3])), Tally()
        started, running = time.time(), []
        for number in range(count):
            late = started + number / rate - time.time()
            if late > 0.002:
                await asyncio.sleep(late)
            if options.udp:
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                    sock.bind(("", next_port))
                    sock.sendto(b".", target)
                tally.counts["opened"] += 1
            else:
                running.append(asyncio.create_task(tcp(target, tally, next_port)))
            # In order: the kernel would use a port again as soon as its connection was aborted.
            next_port = next_port + 1 if next_port < 65000 else options.first_port
        if running:
            await asyncio.gather(*running)
        say(words[0], seconds=round(time.time() - started, 2), **tally.report())
    say("done")


async def resolve(options):
    """Makes the kernel ask for an address and says what it was told."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, 253) as sock:  # 253: for experiments; no router opens state for it
        sock.sendto(b"?", (options.to, 0))
    for _ in range(50):
        with open("/proc/net/arp", encoding="ascii") as table:
            for entry in map(str.split, table):
                if entry[0] == options.to and entry[3] != "00:00:00:00:00:00":
                    say("ready", mac=entry[3])
                    return
        await asyncio.sleep(0.1)
    say("ready", mac=None)


def five_tuple(frame, towards_server):
    """(server port, text, is RST) of an IPv4 TCP or UDP frame, else None."""
    if len(frame) < 38 or frame[12:14] != b"\x08\x00":
        return None
    header = (frame[14] & 15) * 4
    proto = frame[23]
    if proto not in (6, 17) or len(frame) < 14 + header + 4:
        return None
    source, target = socket.inet_ntoa(frame[26:30]), socket.inet_ntoa(frame[30:34])
    sport, tport = struct.unpack_from("!HH", frame, 14 + header)
    if not towards_server:
        source, sport, target, tport = target, tport, source, sport
    reset = proto == 6 and len(frame) > 14 + header + 13 and bool(frame[14 + header + 13] & 4)
    return tport, f"{proto} {source}:{sport} {target}:{tport}", reset


async def watch(options):
    """Captures on switch ports that face first-stage routers: what arrives goes towards a server."""
    loop = asyncio.get_running_loop()
    names = options.interfaces.split(",")
    flows = {name: {} for name in names}
    resets, lost, sockets = {}, [0], []

    def readable(name, sock):
        for _ in range(256):
            try:
                frame, sender = sock.recvfrom(128)
            except BlockingIOError:
                return
            found = five_tuple(frame, towards_server=sender[2] != 4)  # 4: PACKET_OUTGOING
            if found:
                port, text, reset = found
                flows[name].setdefault(port, set()).add(text)
                if reset:
                    resets[port] = resets.get(port, 0) + 1

    for name in names:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        sock.setsockopt(socket.SOL_SOCKET, 33, 32 << 20)  # SO_RCVBUFFORCE
        sock.bind((name, 3))
        sock.setblocking(False)
        loop.add_reader(sock.fileno(), readable, name, sock)
        sockets.append((name, sock))
    say("ready")
    async for words in commands():
        port = int(words[1])
        for name, sock in sockets:
            readable(name, sock)
            # PACKET_STATISTICS: packets seen, packets dropped; reading resets both.
            lost[0] += struct.unpack("II", sock.getsockopt(263, 6, 8))[1]
        say(words[0], interfaces={name: sorted(seen.get(port, ())) for name, seen in flows.items()},
            resets=resets.get(port, 0), lost=lost[0])
    say("done", lost=lost[0])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    modes = parser.add_subparsers(dest="mode", required=True)
    mode = modes.add_parser("serve")
    mode.add_argument("--port", type=int, default=7000)
    mode.add_argument("--ports", type=int, default=1)
    mode = modes.add_parser("hold")
    mode.add_argument("--to", required=True)
    mode.add_argument("--rate", type=float, default=100, help="connections opened a second")
    mode.add_argument("--interval", type=float, default=1.0, help="seconds between two records of a busy connection")
    mode = modes.add_parser("flight")
    mode.add_argument("--to", required=True)
    mode.add_argument("--rate", type=float, default=50, help="connections opened a second")
    mode.add_argument("--interval", type=float, default=0.5, help="seconds between two records of a busy connection")
    mode.add_argument("--bulk", type=int, default=32768, help="bytes in a record of a bulk connection")
    mode = modes.add_parser("churn")
    mode.add_argument("--to", required=True)
    mode.add_argument("--rate", required=True, help="SECONDS:RATE,… piecewise linear")
    mode.add_argument("--duration", type=float, default=10, help="mean seconds, exponential")
    mode.add_argument("--interval", type=float, default=2.0)
    mode.add_argument("--abort", type=float, default=0.0, help="fraction that ends with RST")
    mode.add_argument("--vanish", type=float, default=0.0, help="fraction that falls silent after its first record")
    mode.add_argument("--idle-timeout", type=float, default=300)
    mode.add_argument("--report", type=float, default=0.5)
    mode.add_argument("--start", type=float, default=0.0, help="wall-clock second of the profile's zero")
    mode.add_argument("--seed", type=int, default=1)
    mode = modes.add_parser("burst")
    mode.add_argument("--to", required=True)
    mode.add_argument("--udp", action="store_true")
    mode.add_argument("--first-port", type=int, default=1100)
    mode = modes.add_parser("resolve")
    mode.add_argument("--to", required=True)
    mode = modes.add_parser("watch")
    mode.add_argument("--interfaces", required=True)
    options = parser.parse_args()
    asyncio.run(globals()[options.mode](options))


if __name__ == "__main__":
    main()
