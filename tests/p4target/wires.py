#!/usr/bin/env python3
"""A P4Runtime switch on network interfaces, in a network namespace of its own (`unshare --net`).

    wires.py PROGRAM...      PROGRAM is how to start the switch, without its configuration

Frames go in at port 1 and out of a group of ports 2 and 3, each watched. Prints what was seen as JSON.
"""

import hashlib
import json
import select
import socket
import subprocess
import sys
import tempfile
import time

import grpc
from google.protobuf import text_format
from p4.config.v1 import p4info_pb2
from p4.v1 import p4runtime_pb2 as p4
from p4.v1 import p4runtime_pb2_grpc
from pathlib import Path

HERE = Path(__file__).resolve().parent
ADDRESS = "127.0.0.1:9559"
PATIENCE_S = 20
INFO = text_format.Parse((HERE / "every.p4info.txtpb").read_text(), p4info_pb2.P4Info())
ALL_PACKETS, OUTGOING = 3, 4


def ip(*words):
    subprocess.run(["ip", *words], check=True)


def id_of(alias):
    everything = [*INFO.tables, *INFO.actions, *INFO.action_profiles, *INFO.counters]
    return next(one.preamble.id for one in everything if one.preamble.alias == alias)


def wait_for(what, look):
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        value = look()
        if value:
            return value
    sys.exit(f"waited in vain for {what}")


def frame(number):
    # CRC-16 keeps consecutive numbers together.
    source = hashlib.sha256(str(number).encode()).digest()[:6]
    return bytes.fromhex("020000000001") + source + bytes.fromhex("0800") + bytes(46)


class Far:
    """The far end of a port's link."""

    def __init__(self, port):
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_PACKETS))
        self.socket.bind((f"far{port}", 0))

    def frames(self, wait_s):
        """Frames of ours that came in, until none comes for so long."""
        count = 0
        while select.select([self.socket], [], [], wait_s)[0]:
            try:
                data, address = self.socket.recvfrom(2048)
            except OSError:
                # Told once when the link goes down.
                continue
            count += address[2] != OUTGOING and data[:6] == bytes.fromhex("020000000001")
        return count


def start(program):
    ip("link", "set", "lo", "up")
    for port in (1, 2, 3):
        ip("link", "add", f"near{port}", "type", "veth", "peer", "name", f"far{port}")
        for end in (f"near{port}", f"far{port}"):
            ip("link", "set", end, "up")
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", delete=False) as file:
        ports = [{"number": port, "interface": f"near{port}"} for port in (1, 2, 3)]
        json.dump({"device": 3, "listen": ADDRESS, "ports": ports}, file)
    process = subprocess.Popen([*program, "--config", file.name], stderr=subprocess.DEVNULL)
    channel = grpc.insecure_channel(ADDRESS)
    grpc.channel_ready_future(channel).result(PATIENCE_S)
    return process, p4runtime_pb2_grpc.P4RuntimeStub(channel)


def write(stub, *entities, kind=p4.Update.INSERT):
    request = p4.WriteRequest(device_id=3)
    request.updates.extend(p4.Update(type=kind, entity=entity) for entity in entities)
    stub.Write(request, timeout=PATIENCE_S)


def set_up(stub):
    """BMv2, and what behaves like it, serves whoever gives no election id while nobody is connected."""
    request = p4.SetForwardingPipelineConfigRequest(device_id=3, action=3)
    request.config.p4info.CopyFrom(INFO)
    request.config.p4_device_config = (HERE / "every.json").read_bytes()
    stub.SetForwardingPipelineConfig(request, timeout=PATIENCE_S)
    members = []
    for port in (2, 3):
        member = p4.ActionProfileMember(action_profile_id=id_of("ways"), member_id=port)
        member.action.action_id = id_of("send")
        member.action.params.add(param_id=1, value=bytes([port]))
        members.append(p4.Entity(action_profile_member=member))
    write(stub, *members)
    group = p4.ActionProfileGroup(action_profile_id=id_of("ways"), group_id=1, max_size=16)
    for port in (2, 3):
        group.members.add(member_id=port, weight=8, watch_port=bytes([port]))
    write(stub, p4.Entity(action_profile_group=group))
    entry = p4.TableEntry(table_id=id_of("spread"))
    entry.match.add(field_id=1).exact.value = bytes.fromhex("020000000001")
    entry.action.action_profile_group_id = 1
    write(stub, p4.Entity(table_entry=entry))


def counted(stub):
    """Frames that the switch received, by port."""
    request = p4.ReadRequest(device_id=3)
    request.entities.add().counter_entry.counter_id = id_of("frames")
    cells = [one.counter_entry for answer in stub.Read(request, timeout=PATIENCE_S) for one in answer.entities]
    return {cell.index.index: cell.data.packet_count for cell in cells}


def main():
    process, stub = start(sys.argv[1:])
    try:
        set_up(stub)
        far = {port: Far(port) for port in (1, 2, 3)}
        seen = {}
        sent = 0

        def burst(name, count=200):
            nonlocal sent
            # Neighbour discovery of the namespace's own kernel is received too.
            before = counted(stub)
            for _ in range(count):
                sent += 1
                far[1].socket.send(frame(sent))
            wait_for("the burst to be counted", lambda: counted(stub)[1] - before[1] >= count)
            seen[name] = {port: far[port].frames(0.2) for port in (2, 3)}
            return counted(stub)

        burst("both")
        for name, state in (("far end of 2 down", "down"), ("far end of 2 up", "up")):
            ip("link", "set", "far2", state)
            since = time.monotonic()
            # The next frame goes where the group has it go now.
            def moved():
                nonlocal sent
                for _ in range(20):
                    sent += 1
                    far[1].socket.send(frame(sent))
                gone = {port: far[port].frames(0.02) for port in (2, 3)}
                return gone[3] == 20 if state == "down" else gone[2] > 0

            if state == "up":
                far[2] = Far(2)
            wait_for(name, moved)
            seen[f"{name}, ms"] = round(1000 * (time.monotonic() - since))
            burst(name)
        seen["counted"] = counted(stub)
        seen["sent"] = sent
    finally:
        process.kill()
        process.wait()
    print(json.dumps(seen))


main()
