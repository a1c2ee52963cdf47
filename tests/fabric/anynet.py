#!/usr/bin/python3
"""One Mininet network of any shape for the tests: user-space Open vSwitch, a remote controller, hosts with real stacks.

Commands are read from standard input, one JSON list a line; each is answered by one JSON object a line. End of input
means: stop the network, leave. Times are seconds unless they say otherwise.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import time
from functools import partial

from mininet.link import Link
from mininet.net import Mininet
from mininet.node import OVSSwitch, RemoteController
from mininet.topo import LinearTopo, SingleSwitchTopo, Topo
from mininet.topolib import TorusTopo, TreeTopo

OVS_CTL = "/usr/share/openvswitch/scripts/ovs-ctl"
PYTHON = "/usr/bin/python3"
FRAMES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "frames.py")
SHOUTS = ["every=ff:ff:ff:ff:ff:ff", "group=01:00:5e:7f:00:01", "nobdy=02:00:00:ff:ff:ff", "arp"]


class Ring(Topo):
    def build(self, n=5):
        switches = [self.addSwitch(f"s{k}") for k in range(1, n + 1)]
        for k, switch in enumerate(switches, 1):
            self.addLink(self.addHost(f"h{k}"), switch)
        for k in range(n):
            self.addLink(switches[k], switches[(k + 1) % n])


class Mesh(Topo):
    """A random tree and `extra` random links more, some of them side by side with others."""

    def build(self, n=10, extra=8, seed=1, hosts=1):
        order = random.Random(seed)
        switches = [self.addSwitch(f"s{k}") for k in range(1, n + 1)]
        for k, switch in enumerate(switches, 1):
            for host in range(hosts):
                self.addLink(self.addHost(f"h{(k - 1) * hosts + host + 1}"), switch)
        for k in range(1, n):
            self.addLink(switches[k], switches[order.randrange(k)])
        for _ in range(extra):
            self.addLink(*order.sample(switches, 2))


SHAPES = {"single": SingleSwitchTopo, "linear": LinearTopo, "tree": TreeTopo, "torus": TorusTopo, "ring": Ring, "mesh": Mesh}


def shape(text):
    """`tree,depth=3,fanout=2` as `mn --topo` reads it."""
    name, *words = text.split(",")
    numbers = [int(word) for word in words if "=" not in word]
    named = {key: int(value) for key, value in (word.split("=") for word in words if "=" in word)}
    return SHAPES[name](*numbers, **named)


PING6 = "for a in {}; do ping -6 -c1 -W3 -q $a >/dev/null && echo yes || echo no; done"

TCP_SERVER = """
import socket
server = socket.create_server(("", 7777), backlog=256)
print("ready", flush=True)
while True:
    peer, _ = server.accept()
    with peer:
        while data := peer.recv(65536):
            peer.sendall(data)
"""
TCP_CLIENT = """
import os, socket, sys
sent, good = os.urandom(50_000), 0
for address in sys.argv[1:]:
    try:
        with socket.create_connection((address, 7777), timeout=5) as peer:
            peer.sendall(sent)
            peer.shutdown(socket.SHUT_WR)
            got = b""
            while part := peer.recv(65536):
                got += part
            good += got == sent
    except OSError as error:
        print(address, error, file=sys.stderr)
print(good)
"""
# A datagram every millisecond, with a number and the time; both ends report at the end.
STREAM_FROM = """
import socket, struct, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
start, n, errors = time.monotonic(), 0, 0
s.setblocking(False)
sys.stdin = open(0, "rb", buffering=0)
import os
os.set_blocking(0, False)
while sys.stdin.read(1) is None:
    try:
        s.sendto(struct.pack("!Id", n, time.time()), (sys.argv[1], 9000))
    except OSError:
        errors += 1
    n += 1
    ahead = start + n * 0.001 - time.monotonic()
    if ahead > 0:
        time.sleep(ahead)
print(n, errors)
"""
STREAM_TO = """
import json, os, socket, struct, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
s.bind(("", 9000))
s.settimeout(0.2)
os.set_blocking(0, False)
sys.stdin = open(0, "rb", buffering=0)
print("ready", flush=True)
arrivals = []
while True:
    try:
        data = s.recv(100)
        arrivals.append((time.time(), struct.unpack("!Id", data[:12])[0]))
    except TimeoutError:
        if sys.stdin.read(1) is not None:
            break
print(json.dumps(arrivals))
"""

def sent_packets():
    """Frames that each interface of this namespace sent. /sys would show those of the namespace it was mounted in."""
    with open("/proc/net/dev", encoding="ascii") as file:
        lines = [line.replace(":", " ").split() for line in list(file)[2:]]
    return {name: int(numbers[9]) for name, *numbers in lines}


class Network:
    def __init__(self, topo, controller):
        address, _, port = controller.rpartition(":")
        switch = partial(OVSSwitch, datapath="user", protocols="OpenFlow13")
        self.net = Mininet(topo=shape(topo), switch=switch, link=Link, controller=None, autoSetMacs=True)
        self.net.addController("c0", controller=RemoteController, ip=address, port=int(port))
        for number, host in enumerate(self.net.hosts, 1):
            # Checksums left to hardware never arrive: a user-space switch has none.
            host.cmd(f"ethtool -K {host.defaultIntf()} tx off; ip -6 addr add fd00::{number}/64 dev {host.defaultIntf()}")
        self.stream = None
        self.witnesses = {}

    def start(self):
        began = time.monotonic()
        self.net.start()
        return {"switches": len(self.net.switches), "hosts": len(self.net.hosts), "links": len(self.wires()),
                "seconds": time.monotonic() - began}

    def wires(self):
        """Links between switches, as pairs of interfaces."""
        switches = set(self.net.switches)
        pairs = [(link.intf1, link.intf2) for link in self.net.links]
        return [pair for pair in pairs if pair[0].node in switches and pair[1].node in switches]

    def pingall(self):
        """Mininet's own."""
        began = time.monotonic()
        dropped = self.net.pingAll()
        return {"dropped_percent": dropped, "seconds": time.monotonic() - began}

    def pairs(self, processes):
        """Output of one process for each host, all at once."""
        return [process.communicate()[0].decode().split() for process in processes]

    def await_addresses(self):
        """Until duplicate address detection is over a host has no address to speak from, and pings from ::1."""
        give_up = time.monotonic() + 10
        while any(host.cmd("ip -6 -o addr show tentative").strip() for host in self.net.hosts):
            if time.monotonic() > give_up:
                raise TimeoutError("addresses are still tentative")
            time.sleep(0.05)

    def pingall6(self):
        self.await_addresses()
        began = time.monotonic()
        count = len(self.net.hosts)
        # Each to all others; in a large network, where that would be minutes, each to the four after it.
        near = count - 1 if count <= 20 else 4
        others = lambda own: " ".join(f"fd00::{(own + step - 1) % count + 1}" for step in range(1, near + 1))
        answers = sum(self.pairs(host.popen(["sh", "-c", PING6.format(others(number))])
                                 for number, host in enumerate(self.net.hosts, 1)), [])
        return {"sent": len(answers), "received": answers.count("yes"), "seconds": time.monotonic() - began}

    def tcp(self):
        began = time.monotonic()
        hosts = self.net.hosts
        servers = [host.popen([PYTHON, "-c", TCP_SERVER], stdout=subprocess.PIPE) for host in hosts]
        for server in servers:
            server.stdout.readline()
        clients = [host.popen([PYTHON, "-c", TCP_CLIENT, *(other.IP() for other in hosts if other != host)])
                   for host in hosts]
        good = sum(int(words[0]) for words in self.pairs(clients))
        for server in servers:
            server.kill()
            server.wait()
        return {"pairs": len(hosts) * (len(hosts) - 1), "good": good, "seconds": time.monotonic() - began}

    def vlan(self, vlan, *names):
        """Tagged interfaces at some hosts; each pings the others there."""
        tried = self.net[names[0]].cmd(f"ip link add link {self.net[names[0]].defaultIntf()} name try type vlan id 1")
        if tried.strip():
            return {"missing": "tagged interfaces in the kernel"}
        self.net[names[0]].cmd("ip link del try")
        for name in names:
            host = self.net[name]
            parent = host.defaultIntf()
            host.cmd(f"ip link add link {parent} name v{vlan} type vlan id {vlan}; ethtool -K v{vlan} tx off;"
                     f"ip addr add 10.99.{vlan}.{name[1:]}/24 dev v{vlan}; ip link set v{vlan} up")
        count = {name: sum(self.ping(name, f"10.99.{vlan}.{other[1:]}")["received"] for other in names if other != name)
                 for name in names}
        return {"sent": 3 * len(names) * (len(names) - 1), "received": sum(count.values())}

    def ping(self, name, address):
        text = self.net[name].cmd(f"ping -c3 -i0.1 -W2 {address}")
        return {"received": int(text.split(" received")[0].split()[-1])}

    def stream_start(self, source, target):
        to = self.net[target].popen([PYTHON, "-c", STREAM_TO], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        to.stdout.readline()
        of = self.net[source].popen([PYTHON, "-c", STREAM_FROM, self.net[target].IP()],
                                    stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.stream = of, to
        return {}

    def stream_stop(self):
        """What was lost, out of order or late. Gaps are between arrivals, in milliseconds; `at` is when the longest
        began, in seconds after the first arrival."""
        of, to = self.stream
        sent, errors = map(int, of.communicate(b"x")[0].split())
        time.sleep(0.3)
        arrivals = json.loads(to.communicate(b"x")[0])
        numbers = [number for _, number in arrivals]
        gaps = [(later - earlier, earlier) for (earlier, _), (later, _) in zip(arrivals, arrivals[1:])]
        longest, at = max(gaps)
        return {"sent": sent, "refused": errors, "received": len(numbers), "twice": len(numbers) - len(set(numbers)),
                "lost": sent - errors - len(set(numbers)),
                "reordered": sum(later < earlier for earlier, later in zip(numbers, numbers[1:])),
                "gap_ms": round(1000 * longest, 1), "at": at, "ended": arrivals[-1][0]}

    def busy(self, target):
        """The links between switches that carry a stream, and what leads on to its target at their near end."""
        ends = [end for pair in self.wires() for end in pair]
        before = sent_packets()
        time.sleep(0.4)
        after, links = sent_packets(), []
        for end in ends:
            if after[str(end)] - before[str(end)] > 150:
                far = end.link.intf2 if end.link.intf1 == end else end.link.intf1
                links.append({"from": end.node.name, "to": far.node.name, "port": end.name,
                              "ways": self.ways(end.node.name, self.net[target].MAC())})
        return {"links": links}

    def ways(self, switch, mac):
        """Ports and groups of the group that leads towards a station."""
        dump = lambda what, *more: subprocess.run(["ovs-ofctl", "-O", "OpenFlow13", f"dump-{what}", switch, *more],
                                                  capture_output=True, text=True, check=True).stdout
        flows = dump("flows", f"table=62,dl_dst={mac},vlan_tci=0")
        if "group:" not in flows:
            return 0
        group = flows.split("group:")[1].split()[0]
        text = next(line for line in dump("groups").splitlines() if f"group_id={group}," in line)
        return text.count("watch_port:") + text.count("watch_group:") - text.count("watch_group:ANY")

    def link(self, port, state):
        subprocess.run(["ip", "link", "set", port, state], check=True)
        return {"at": time.time()}

    def move(self, name, switch):
        """The host's cable is pulled and put into another switch."""
        host, switch = self.net[name], self.net[switch]
        address, mac, old = host.IP(), host.MAC(), host.defaultIntf()
        near = old.link.intf2 if old.link.intf1 == old else old.link.intf1
        near.node.detach(near)
        self.net.delLink(old.link)
        link = self.net.addLink(host, switch)
        link.intf1.setMAC(mac)
        link.intf1.setIP(address, 8)
        host.cmd(f"ethtool -K {link.intf1} tx off")
        switch.attach(link.intf2)
        return {"at": time.time()}

    def watch(self):
        """Whoever sees a frame counts it: every host, and the switches' ends of their links."""
        places = {host.name: host.popen([PYTHON, FRAMES, "witness"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
                  for host in self.net.hosts}
        places["switches"] = subprocess.Popen([PYTHON, FRAMES, "witness"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for witness in places.values():
            witness.stdout.readline()
        self.witnesses = places
        return {}

    def shout(self, count):
        host = self.net.hosts[0]
        shouter = host.popen([PYTHON, FRAMES, "shout", host.defaultIntf().name, str(count), *SHOUTS])
        _, error = shouter.communicate()
        return {"status": shouter.returncode, "error": error.decode()}

    def seen(self):
        """Frames that came in, by place and frame."""
        ends = {str(end) for pair in self.wires() for end in pair}
        answer = {}
        for place, witness in self.witnesses.items():
            witness.stdin.write(b"x")
            witness.stdin.flush()
            counts = json.loads(witness.stdout.readline())
            split = [(*words.split()[:2], count) for words, count in counts.items()]
            if place == "switches":
                split = [(name, frame, count) for name, frame, count in split if name in ends]
            else:
                split = [(place, frame, count) for _, frame, count in split]
            for where, frame, count in split:
                answer.setdefault(where, {})[frame] = count
        return answer

    def wire_names(self):
        return {"wires": [[str(a), str(b)] for a, b in self.wires()]}

    def kill_switches(self):
        """SIGKILL: the daemon that is all switches is gone, with all its entries."""
        with open("/run/openvswitch/ovs-vswitchd.pid", encoding="ascii") as file:
            pid = int(file.read())
        os.kill(pid, 9)
        while os.path.exists(f"/proc/{pid}"):
            time.sleep(0.01)
        return {}

    def start_switches(self):
        began = time.monotonic()
        subprocess.run([OVS_CTL, "start", "--system-id=random", "--no-mlockall", "--no-ovsdb-server"],
                       check=True, stdout=subprocess.DEVNULL)
        return {"seconds": time.monotonic() - began}

    def controllers(self, target):
        """Gives every switch this controller instead of its own."""
        words = []
        for switch in self.net.switches:
            words += ["--", "set-controller", switch.name, target]
        subprocess.run(["ovs-vsctl", *words[1:]], check=True)
        return {}

    def entries(self):
        """Flows and groups in all switches, and the age of the youngest flow."""
        flows, groups, youngest = 0, 0, 1e9
        for switch in self.net.switches:
            dump = lambda what: subprocess.run(["ovs-ofctl", "-O", "OpenFlow13", f"dump-{what}", switch.name],
                                               capture_output=True, text=True, check=True).stdout.splitlines()
            ages = [float(line.split("duration=")[1].split("s")[0]) for line in dump("flows") if "duration=" in line]
            flows += len(ages)
            youngest = min([youngest, *ages])
            groups += sum("group_id=" in line for line in dump("groups"))
        return {"flows": flows, "groups": groups, "youngest": youngest}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("topo")
    parser.add_argument("--controller", default="127.0.0.1:6653")
    options = parser.parse_args()
    # Mininet and its children may write what they like; answers alone go to standard output.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    subprocess.run([OVS_CTL, "start", "--system-id=random", "--no-mlockall"], check=True, stdout=subprocess.DEVNULL)
    network = Network(options.topo, options.controller)
    try:
        for line in sys.stdin:
            command, *words = json.loads(line)
            answers.write(json.dumps(getattr(network, command)(*words)) + "\n")
            answers.flush()
    finally:
        network.net.stop()
        subprocess.run([OVS_CTL, "stop"], check=False, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
