#!/usr/bin/python3
"""Starts the fabric of a Foreshadow topology file in Mininet, with user-space Open vSwitch and P4Runtime switches.

    sudo mininet/fabric.py topologies/clos.yaml --controller 127.0.0.1:6653 --cli
    sudo mininet/fabric.py topologies/clos.yaml --controller 127.0.0.1:6653 --test

Nodes with `protocol: p4runtime` are BMv2 (simple_switch_grpc) where that is installed, else the emulated target of the
`foreshadow` program; --p4-target chooses. They begin without a P4 program: the controller connects and brings it.

No kernel module is needed. Open vSwitch is started if it is not running, and stopped again in that case. Run it with
Debian's own Python, /usr/bin/python3: that is where Debian's Mininet and YAML modules are.
"""

import argparse
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml
from mininet.cli import CLI
from mininet.link import Link
from mininet.log import setLogLevel
from mininet.net import Mininet
from mininet.node import OVSSwitch, RemoteController, Switch

OVS_CTL = "/usr/share/openvswitch/scripts/ovs-ctl"
# Small frames come in bursts larger than the kernel's usual default holds for a packet socket.
SOCKET_BUFFER_BYTES = 8_388_608
INTERFACE_NAME_MAX = 15
BMV2 = "simple_switch_grpc"
EMULATED = "foreshadow"
# The P4 programs of this project know the controller by this port.
CPU_PORT = 510
# Without an address of its own, device 1 listens on 9559 of this machine.
GRPC_PORT_BASE = 9558


class FabricSwitch(OVSSwitch):
    """A user-space bridge that forwards nothing it was not told, and asks again for its controller every second."""

    def __init__(self, name, **options):
        super().__init__(name, datapath="user", failMode="secure", protocols="OpenFlow13", reconnectms=1000, **options)


class P4Switch(Switch):
    """A process that forwards between its interfaces by whatever a controller tells it over P4Runtime."""

    def __init__(self, name, device, address, program, folder, **options):
        super().__init__(name, **options)
        self.device, self.address, self.program, self.folder = device, address, program, folder
        self.process = None

    def interfaces(self):
        return {port: interface.name for port, interface in sorted(self.intfs.items()) if port > 0}

    def command(self):
        if Path(self.program).name == BMV2:
            interfaces = [word for port, name in self.interfaces().items() for word in ("-i", f"{port}@{name}")]
            target = ["--cpu-port", str(CPU_PORT), "--grpc-server-addr", self.address]
            return [self.program, "--no-p4", "--device-id", str(self.device), *interfaces, "--", *target]
        file = Path(self.folder) / f"{self.name}.yaml"
        ports = [{"number": port, "interface": name} for port, name in self.interfaces().items()]
        settings = {"device": self.device, "listen": self.address, "cpu_port": CPU_PORT, "ports": ports}
        file.write_text(json.dumps(settings), encoding="utf-8")  # JSON is YAML
        return [self.program, "switch", "--protocol", "p4runtime", "--config", str(file)]

    def start(self, controllers):
        for name in self.interfaces().values():
            # What hardware would do to checksums and segments, nobody does here.
            subprocess.run(["ethtool", "-K", name, *"tx off rx off sg off tso off gso off gro off".split()],
                           check=True, stdout=subprocess.DEVNULL)
            subprocess.run(["sysctl", "-qw", f"net.ipv6.conf.{name}.disable_ipv6=1"], check=False)
            subprocess.run(["ip", "link", "set", name, "up"], check=True)
        log = open(Path(self.folder) / f"{self.name}.log", "wb")
        self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        log.close()

    def wait_ready(self, patience_s=20):
        host, _, port = self.address.rpartition(":")
        started = time.monotonic()
        while True:
            try:
                socket.create_connection((host.strip("[]"), int(port)), timeout=1).close()
                return
            except OSError as error:
                if self.process.poll() is not None or time.monotonic() - started > patience_s:
                    said = (Path(self.folder) / f"{self.name}.log").read_text(errors="replace")
                    raise SystemExit(f"{self.name}: {self.program} does not listen on {self.address}: {error}\n{said}") from error
                time.sleep(0.05)

    def stop(self, deleteIntfs=True):
        if self.process:
            self.process.terminate()
            self.process.wait()
        super().stop(deleteIntfs)


def p4_program(wanted):
    """The program that plays P4Runtime switches: the one asked for, else BMv2, else the emulated target."""
    built = Path(__file__).resolve().parent.parent / "target/release" / EMULATED
    for candidate in [wanted] if wanted else [BMV2, EMULATED, str(built)]:
        found = shutil.which(candidate)
        if found:
            return found
    sys.exit(f"P4Runtime switches need {wanted or f'{BMV2} or {EMULATED}'}, which is not installed")


def is_p4(node):
    return node.get("protocol", "openflow") == "p4runtime"


def endpoint(text):
    """('t1', 10) of 't1:10'; the port is None where it is left to Mininet."""
    node, _, port = text.partition(":")
    return node, int(port) if port else None


def datapath_id(value):
    """16 hex digits of a dpid as a topology file may write it."""
    if isinstance(value, str):
        value = int(value.removeprefix("0x").replace(":", ""), 16)
    return f"{value:016x}"


def load(path):
    with open(path, encoding="utf-8") as file:
        topology = yaml.safe_load(file)
        # A dpid is hexadecimal however many zeros it begins with; YAML 1.1 would read 0010 as octal.
        file.seek(0)
        spelled = yaml.load(file, Loader=yaml.BaseLoader)
    for node, text in zip(topology["nodes"], spelled["nodes"]):
        if isinstance(node.get("dpid"), int) and len(text["dpid"]) == 16:
            node["dpid"] = text["dpid"]
        if node.get("protocol", "openflow") not in ("openflow", "p4runtime"):
            sys.exit(f"{path}: node {node['id']} speaks {node['protocol']}; openflow or p4runtime is expected")
        if len(node["id"]) + len("-eth999") > INTERFACE_NAME_MAX:
            sys.exit(f"{path}: node {node['id']}: a name of at most 8 characters is expected, interfaces are named after it")
    return topology


def build(topology, controller, p4_target, folder):
    """A Mininet of the topology, not started. P4Runtime switches keep files and logs in `folder`."""
    address, _, port = controller.rpartition(":")
    net = Mininet(topo=None, switch=FabricSwitch, link=Link, controller=None, build=False, autoSetMacs=False)
    net.addController("c0", controller=RemoteController, ip=address, port=int(port))
    program = p4_program(p4_target) if any(map(is_p4, topology["nodes"])) else None
    for node in topology["nodes"]:
        if is_p4(node):
            device = node["device"]
            address = node.get("address", f"127.0.0.1:{GRPC_PORT_BASE + device}")
            net.addSwitch(node["id"], cls=P4Switch, dpid=datapath_id(device), inNamespace=False, device=device,
                          address=address, program=program, folder=folder)
        else:
            net.addSwitch(node["id"], dpid=datapath_id(node["dpid"]))
    for link in topology.get("links", []):
        (a, a_port), (b, b_port) = endpoint(link["a"]), endpoint(link["b"])
        net.addLink(a, b, port1=a_port, port2=b_port)
    for host in topology.get("hosts", []):
        address = host["address"] if "/" in host["address"] else host["address"] + "/24"
        route = f"via {host['gateway']}" if "gateway" in host else None
        net.addHost(host["id"], ip=address, mac=host.get("mac"), defaultRoute=route)
        switch, port = endpoint(host["attach"])
        net.addLink(host["id"], switch, port2=port)
    net.build()
    for host in net.hosts:
        # Checksums left to hardware never arrive: a user-space switch has none, and TCP would stall though ping works.
        host.cmd(f"ethtool -K {host.defaultIntf()} tx off")
        host.cmd("sysctl -qw net.ipv6.conf.all.disable_ipv6=1")
    return net


def raise_socket_buffer():
    path = "/proc/sys/net/core/rmem_default"
    try:
        with open(path, encoding="ascii") as file:
            before = int(file.read())
        if before < SOCKET_BUFFER_BYTES:
            with open(path, "w", encoding="ascii") as file:
                file.write(str(SOCKET_BUFFER_BYTES))
            print(f"net.core.rmem_default raised from {before} to {SOCKET_BUFFER_BYTES}")
    except OSError as error:
        print(f"net.core.rmem_default stays as it is ({error}): bursts may be lost")


def start_openvswitch():
    """True if it had to be started."""
    running = subprocess.run(["ovs-vsctl", "--timeout=2", "show"], capture_output=True, check=False).returncode == 0
    if not running:
        subprocess.run([OVS_CTL, "start", "--system-id=random", "--no-mlockall"], check=True)
    return not running


def reach(host, address):
    """Ping answered within a second?"""
    return host.popen(["ping", "-c1", "-W1", address]).wait() == 0


TCP_SERVER = """
import socket
server = socket.create_server(("", 7777), backlog=64)
print("ready", flush=True)
while True:
    peer, _ = server.accept()
    with peer:
        while data := peer.recv(65536):
            peer.sendall(data)
"""
TCP_CLIENT = """
import os, socket, sys
sent = os.urandom(100_000)
with socket.create_connection((sys.argv[1], 7777), timeout=5) as peer:
    peer.settimeout(5)
    got = b""
    for start in range(0, len(sent), 10_000):
        peer.sendall(sent[start:start + 10_000])
        while len(got) < start + 10_000:
            part = peer.recv(65536)
            if not part:
                sys.exit("closed early")
            got += part
sys.exit(0 if got == sent else "wrong bytes came back")
"""


def check(net, topology, patience_s):
    """Every host of the third stage against every server: ping, then 100 kB of TCP there and back."""
    stages = {node["id"]: node["stage"] for node in topology["nodes"]}
    outside = [host for host in topology["hosts"] if stages[endpoint(host["attach"])[0]] in ("outside", 0)]
    inside = [host for host in topology["hosts"] if host not in outside]
    pairs = [(host, server) for host in inside for server in outside]
    address = lambda host: host["address"].split("/")[0]
    failures = []
    started = time.monotonic()
    for host, server in pairs:
        # The controller may still be installing: only the first pairs wait for it.
        while not (answered := reach(net[host["id"]], address(server))):
            if time.monotonic() - started > patience_s:
                break
        if not answered:
            failures.append(f"ping {host['id']} -> {server['id']}: no answer")
    print(f"ping: {len(pairs) - len(failures)} of {len(pairs)} pairs, after {time.monotonic() - started:.1f} s")
    servers = []
    for server in outside:
        servers.append(net[server["id"]].popen(["/usr/bin/python3", "-c", TCP_SERVER], stdout=subprocess.PIPE))
        servers[-1].stdout.readline()
    broken = 0
    for host, server in pairs:
        client = net[host["id"]].popen(["/usr/bin/python3", "-c", TCP_CLIENT, address(server)], stderr=subprocess.PIPE)
        _, error = client.communicate()
        if client.returncode:
            broken += 1
            failures.append(f"TCP {host['id']} -> {server['id']}: {(error.decode().splitlines() or ['failed'])[-1]}")
    print(f"TCP: {len(pairs) - broken} of {len(pairs)} pairs")
    for process in servers:
        process.kill()
    for failure in failures:
        print(failure)
    return not failures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("topology", help="topology file (YAML)")
    parser.add_argument("--controller", default="127.0.0.1:6653", help="address:port of its OpenFlow side")
    parser.add_argument("--p4-target", metavar="PROGRAM", help=f"what plays P4Runtime switches: {BMV2} or {EMULATED}, or its path")
    parser.add_argument("--patience", type=float, default=30, help="seconds that --test waits for the first answers")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--cli", action="store_true", help="Mininet's command line (the default)")
    what.add_argument("--test", action="store_true", help="ping and TCP from every host to every server, then leave")
    options = parser.parse_args()
    setLogLevel("warning")
    topology = load(options.topology)
    raise_socket_buffer()
    started = not all(map(is_p4, topology["nodes"])) and start_openvswitch()
    with tempfile.TemporaryDirectory(prefix="fabric-") as folder:
        net = build(topology, options.controller, options.p4_target, folder)
        p4_switches = [switch for switch in net.switches if isinstance(switch, P4Switch)]
        try:
            net.start()
            for switch in p4_switches:
                switch.wait_ready()
            kinds = f", {len(p4_switches)} of them {Path(p4_switches[0].program).name}" if p4_switches else ""
            print(f"{len(net.switches)} switches{kinds} and {len(net.hosts)} hosts up, controller {options.controller}")
            if options.test:
                return 0 if check(net, topology, options.patience) else 1
            CLI(net)
            return 0
        finally:
            net.stop()
            if started:
                subprocess.run([OVS_CTL, "stop"], check=True)


if __name__ == "__main__":
    sys.exit(main())
