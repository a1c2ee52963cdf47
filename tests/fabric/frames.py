#!/usr/bin/env python3
"""Frames as they are: `witness` counts what comes in, `shout` sends. Python's standard library only.

    frames.py witness                       "ready"; then, for each line on standard input, counts as one JSON object
    frames.py shout DEVICE COUNT NAME=TO…   COUNT frames of each kind, two milliseconds apart, from the device's address;
                                            NAME of five letters; `arp` alone asks for addresses that nobody has;
                                            NAME@VID=TO sends with that VLAN tag

A witness names a tag before the name: `v7/hello001`. Frames have the first EtherType that IEEE 802 leaves to experiments, and say who they are: name and number.
"""

import collections
import json
import os
import select
import socket
import struct
import sys
import time

EXPERIMENTAL = bytes.fromhex("88b5")
ARP = bytes.fromhex("0806")
ARP_REQUEST_HEAD = bytes.fromhex("0001080006040001")
# 10.254.0.0/16: no host has such an address.
NOBODY = bytes([10, 254])
OUTGOING = 4
VLAN = 0x8100
# <linux/if_packet.h>: the kernel takes the tag out of a frame and tells of it beside the frame.
SOL_PACKET, PACKET_AUXDATA = 263, 8
AUXDATA = struct.Struct("=IIIHHHH")
TAG_VALID = 1 << 4


def tag_of(ancillary):
    """`v7/` where a frame came with VLAN 7, nothing where it came without a tag."""
    for level, kind, data in ancillary:
        if (level, kind) == (SOL_PACKET, PACKET_AUXDATA) and len(data) >= AUXDATA.size:
            status, _, _, _, _, tci, _ = AUXDATA.unpack(data[: AUXDATA.size])
            if status & TAG_VALID:
                return f"v{tci & 0xFFF}/"
    return ""


def witness():
    """Counts by interface and frame what comes in, not what goes out."""
    listener = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    listener.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
    seen = collections.Counter()
    print("ready", flush=True)
    while True:
        ready, _, _ = select.select([listener, 0], [], [])
        if listener in ready:
            frame, ancillary, _, (device, _, kind, _, _) = listener.recvmsg(2048, 256)
            tag = tag_of(ancillary)
            if kind == OUTGOING:
                continue
            if frame[12:14] == EXPERIMENTAL:
                seen[f"{device} {tag}{frame[14:22].decode(errors='replace')} {frame[6:12].hex(':')}"] += 1
            elif frame[12:14] == ARP and frame[14:22] == ARP_REQUEST_HEAD and frame[38:40] == NOBODY:
                seen[f"{device} {tag}arp--{int.from_bytes(frame[40:42], 'big'):03} {frame[6:12].hex(':')}"] += 1
        elif os.read(0, 1):
            print(json.dumps(seen), flush=True)
        else:
            break


def shout(device, count, *kinds):
    out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    out.bind((device, 0))
    own = out.getsockname()[4]
    for number in range(int(count)):
        for kind in kinds:
            name, _, target = kind.partition("=")
            name, _, vid = name.partition("@")
            if name == "arp":
                request = ARP_REQUEST_HEAD + own + bytes(4) + bytes(6) + NOBODY + struct.pack("!H", number)
                frame = b"\xff" * 6 + own + ARP + request + bytes(18)
            else:
                frame = bytes.fromhex(target.replace(":", "")) + own
                frame += struct.pack("!HH", VLAN, int(vid)) if vid else b""
                frame += EXPERIMENTAL
                frame += f"{name}{number:03}".encode() + bytes(40)
            out.send(frame)
            time.sleep(0.002)


if __name__ == "__main__":
    {"witness": witness, "shout": shout}[sys.argv[1]](*sys.argv[2:])
