#!/usr/bin/env python3
"""p4runtime-shell at a P4Runtime switch.

    shell.py ADDRESS:PORT DEVICE                                 prints what the switch holds, as a reader beside its controller
    shell.py ADDRESS:PORT DEVICE every|fabric P4INFO PROGRAM     pushes the program, writes entries, prints what is read back
"""

import sys

import p4runtime_sh.shell as shell
from p4runtime_sh.context import P4Type
from p4runtime_sh.p4runtime import P4RuntimeException


def show(what, entries):
    texts = sorted(" ".join(str(entry).split()) for entry in entries)
    print(f"== {what}: {len(texts)}")
    for text in texts:
        print(text)


def read(make):
    """Entities; none where the switch does not give them, as BMv2 does with members of one-shot profiles."""
    try:
        return list(make().read())
    except P4RuntimeException as error:
        return [f"refused: {error}"]


def read_all():
    for name, _ in sorted(shell.context.get_objs(P4Type.table)):
        show(name, read(lambda name=name: shell.TableEntry(name)))
    for name, _ in sorted(shell.context.get_objs(P4Type.action_profile)):
        show(f"members of {name}", read(lambda name=name: shell.ActionProfileMember(name)))
        show(f"groups of {name}", read(lambda name=name: shell.ActionProfileGroup(name)))
    show("multicast groups", read(shell.MulticastGroupEntry))
    show("clone sessions", read(shell.CloneSessionEntry))


def entry(table, action=None, priority=None, match=None, **parameters):
    row = shell.TableEntry(table)(action=action) if action else shell.TableEntry(table)
    for key, value in (match or {}).items():
        row.match[key] = value
    for key, value in parameters.items():
        row.action[key] = value
    if priority:
        row.priority = priority
    return row


def write_every():
    entry("plain", "counted_send", match={"port": "1"}, port="2").insert()
    entry("plain", "counted_to_controller", match={"port": "2"}, reason="5").insert()
    entry("prefixes", "send_as", match={"type": "0x800", "dst": "02:46:00:00:00:00/24"}, port="2", mac="02:00:00:00:00:01").insert()
    entry("mixed", "drop", 7, match={"port": "1", "dst": "02:00:00:00:00:01&&&ff:ff:ff:ff:ff:ff", "type": "0x600..0x800", "src": "1"}).insert()
    aging = entry("aging", "NoAction", match={"src": "02:00:00:00:00:02"})
    aging.idle_timeout_ns = 60 * 10**9
    aging.insert()
    changed = entry("plain", "counted_send", match={"port": "2"}, port="1")
    changed.modify()
    default = shell.TableEntry("single")(action="send", is_default=True)
    default.action["port"] = "9"
    default.modify()
    for number in ("1", "2", "3"):
        member = shell.ActionProfileMember("ways")(member_id=int(number), action="send")
        member.action["port"] = number
        member.insert()
    group = shell.ActionProfileGroup("ways")(group_id=1, max_size=16)
    group.add(1, weight=9)
    group.add(3, weight=7)
    group.insert()
    spread = shell.TableEntry("spread")(group_id=1)
    spread.match["dst"] = "02:00:00:00:00:03"
    spread.insert()
    once = shell.TableEntry("oneshot")
    once.match["dst"] = "02:00:00:00:00:04"
    way = shell.Action("send")
    way["port"] = "1"
    once.oneshot.add(way, weight=3, watch_port=b"\x01")
    once.oneshot.add(shell.Action("drop"), weight=1)
    once.insert()
    flood = shell.MulticastGroupEntry(3)
    flood.add(1, 1).add(2, 2)
    flood.insert()
    clone = shell.CloneSessionEntry(4)
    clone.add(510, 1)
    clone.insert()
    frames = shell.CounterEntry("frames")
    frames.index = 2
    frames.packet_count = 11
    frames.modify()
    show("counter frames", shell.CounterEntry("frames").read())
    rates = shell.MeterEntry("rates")
    rates.index = 1
    rates.cir, rates.cburst, rates.pir, rates.pburst = 1, 2, 3, 4
    rates.modify()
    show("meter rates", shell.MeterEntry("rates").read())
    digest = shell.DigestEntry("learned_t")
    digest.max_list_size = 10
    digest.insert()
    show("digest", shell.DigestEntry("learned_t").read())


def write_fabric():
    node = shell.TableEntry("self")(action="become", is_default=True)
    node.action["node"], node.action["role"] = "7", "3"
    node.modify()
    entry("ports", "face", match={"port": "1"}, kind="1").insert()
    entry("routes", "to_node", match={"destination": "10.1.0.0/16"}, node="9").insert()
    entry("routes", "deliver", match={"destination": "10.2.0.1/32"}, mac="02:00:00:00:00:07", port="3").insert()
    entry("indirection", "means", match={"router": "2"}, node="2").insert()
    for number in ("1", "2"):
        member = shell.ActionProfileMember("routers")(member_id=int(number), action="choose")
        member.action["router"] = number
        member.insert()
    group = shell.ActionProfileGroup("routers")(group_id=1, max_size=256)
    group.add(1, weight=230).add(2, weight=26)
    group.insert()
    choice = shell.TableEntry("choice")(group_id=1)
    choice.match["service"] = "1"
    choice.insert()
    show("counter events", shell.CounterEntry("events").read())


def main():
    address, device = sys.argv[1], int(sys.argv[2])
    if len(sys.argv) == 3:
        # The lowest election id: whoever else is there stays the primary.
        shell.setup(device_id=device, grpc_addr=address, election_id=(0, 0), verbose=False)
    else:
        config = shell.FwdPipeConfig(sys.argv[4], sys.argv[5])
        shell.setup(device_id=device, grpc_addr=address, election_id=(0, 5), config=config, verbose=False)
        {"every": write_every, "fabric": write_fabric}[sys.argv[3]]()
    read_all()
    shell.teardown()


main()
