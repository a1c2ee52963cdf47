"""Peer of `foreshadow bench scale`: an os-ken application that reads the port statistics of every switch once a second.

Usage: stats_collector.py PORT ROUNDS

One line of JSON for each round goes to the file ROUNDS: how many switches were asked, how many had answered when the
round's second was over, and when the last answer was taken (-1: not all answered in time). ARP requests that come as
packet-ins are answered with packet-outs, so that the time of an answer beside this load can be measured.
"""

import json
import logging
import resource
import sys
import threading
import time

from os_ken.lib import hub

hub.patch()

from os_ken import cfg  # noqa: E402
from os_ken.base import app_manager  # noqa: E402
from os_ken.controller import ofp_event  # noqa: E402
from os_ken.controller.handler import DEAD_DISPATCHER, MAIN_DISPATCHER, set_ev_cls  # noqa: E402
from os_ken.lib.packet import arp, ethernet, packet  # noqa: E402
from os_ken.ofproto import ofproto_v1_3  # noqa: E402

GATEWAY = "02:46:53:00:00:01"
ROUND_S = 1.0
ROUNDS = None


class StatsCollector(app_manager.OSKenApp):
    OFP_VERSIONS = [ofproto_v1_3.OFP_VERSION]

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.lock = threading.Lock()
        self.datapaths = {}
        self.counters = {}
        self.awaited = {}
        self.last_answer = 0.0
        hub.spawn(self.collect)

    @set_ev_cls(ofp_event.EventOFPStateChange, [MAIN_DISPATCHER, DEAD_DISPATCHER])
    def on_state(self, event):
        datapath = event.datapath
        with self.lock:
            if event.state == MAIN_DISPATCHER:
                self.datapaths[datapath.id] = datapath
            elif self.datapaths.get(datapath.id) is datapath:
                del self.datapaths[datapath.id]

    def collect(self):
        due = time.monotonic()
        while True:
            with self.lock:
                asked = list(self.datapaths.values())
                requests = [
                    datapath.ofproto_parser.OFPPortStatsRequest(datapath, 0, datapath.ofproto.OFPP_ANY)
                    for datapath in asked
                ]
                # An answer to the round before does not count for this one.
                self.awaited = {
                    datapath.id: datapath.set_xid(request) for datapath, request in zip(asked, requests, strict=True)
                }
            began = time.monotonic()
            for datapath, request in zip(asked, requests, strict=True):
                datapath.send_msg(request)
            due = max(due + ROUND_S, began + ROUND_S)
            hub.sleep(max(0.0, due - time.monotonic()))
            with self.lock:
                missing, last = len(self.awaited), self.last_answer
            kept = missing == 0 and last - began <= ROUND_S
            line = {
                "switches": len(asked),
                "answered": len(asked) - missing,
                "took_us": int(max(0.0, last - began) * 1e6) if kept else -1,
            }
            print(json.dumps(line), file=ROUNDS, flush=True)

    @set_ev_cls(ofp_event.EventOFPPortStatsReply, MAIN_DISPATCHER)
    def on_statistics(self, event):
        datapath = event.msg.datapath
        self.counters[datapath.id] = {
            port.port_no: (
                port.rx_packets,
                port.tx_packets,
                port.rx_bytes,
                port.tx_bytes,
                port.rx_dropped,
                port.tx_dropped,
            )
            for port in event.msg.body
        }
        with self.lock:
            if self.awaited.get(datapath.id) == event.msg.xid:
                del self.awaited[datapath.id]
                self.last_answer = time.monotonic()

    @set_ev_cls(ofp_event.EventOFPPacketIn, MAIN_DISPATCHER)
    def on_packet(self, event):
        message = event.msg
        datapath = message.datapath
        request = packet.Packet(message.data).get_protocol(arp.arp)
        if request is None or request.opcode != arp.ARP_REQUEST:
            return
        answer = packet.Packet()
        answer.add_protocol(ethernet.ethernet(dst=request.src_mac, src=GATEWAY, ethertype=0x0806))
        answer.add_protocol(
            arp.arp(
                opcode=arp.ARP_REPLY,
                src_mac=GATEWAY,
                src_ip=request.dst_ip,
                dst_mac=request.src_mac,
                dst_ip=request.src_ip,
            )
        )
        answer.serialize()
        proto, parser = datapath.ofproto, datapath.ofproto_parser
        datapath.send_msg(
            parser.OFPPacketOut(
                datapath,
                buffer_id=proto.OFP_NO_BUFFER,
                in_port=proto.OFPP_CONTROLLER,
                actions=[parser.OFPActionOutput(message.match["in_port"])],
                data=answer.data,
            )
        )


def main():
    global ROUNDS
    port, rounds = int(sys.argv[1]), sys.argv[2]
    ROUNDS = open(rounds, "w", encoding="ascii")
    # Every switch takes a descriptor.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # An application must be importable by the name that the manager is given.
    sys.modules["stats_collector"] = sys.modules["__main__"]
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    from os_ken.controller import controller  # noqa: F401  (registers the options set below)

    cfg.CONF(args=["--ofp-listen-host", "127.0.0.1", "--ofp-tcp-listen-port", str(port)], project="os_ken", prog="peer")
    manager = app_manager.AppManager.get_instance()
    manager.load_apps(["stats_collector", "os_ken.controller.ofp_handler"])
    services = manager.instantiate_apps(**manager.create_contexts())
    try:
        hub.joinall(services)
    finally:
        manager.close()


if __name__ == "__main__":
    main()
