"""Peer of `foreshadow bench loop`: an os-ken application that answers ARP requests with packet-outs.

Usage: arp_responder.py PORT FLOWS

It does what Foreshadow does with the benchmark's load: each ARP request that comes as a packet-in is parsed and answered
by the virtual gateway's MAC address. When a switch comes up it gets FLOWS flows and a barrier.
"""

import logging
import sys

from os_ken.lib import hub

hub.patch()

from os_ken import cfg  # noqa: E402
from os_ken.base import app_manager  # noqa: E402
from os_ken.controller import ofp_event  # noqa: E402
from os_ken.controller.handler import CONFIG_DISPATCHER, MAIN_DISPATCHER, set_ev_cls  # noqa: E402
from os_ken.lib.packet import arp, ethernet, packet  # noqa: E402
from os_ken.ofproto import ofproto_v1_3  # noqa: E402

GATEWAY = "02:46:53:00:00:01"
FLOWS = 0


class ArpResponder(app_manager.OSKenApp):
    OFP_VERSIONS = [ofproto_v1_3.OFP_VERSION]

    @set_ev_cls(ofp_event.EventOFPSwitchFeatures, CONFIG_DISPATCHER)
    def on_switch(self, event):
        datapath = event.msg.datapath
        proto, parser = datapath.ofproto, datapath.ofproto_parser
        for number in range(FLOWS):
            match = parser.OFPMatch(eth_type=0x0800, ipv4_dst=f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}")
            actions = [parser.OFPActionOutput(1)]
            instructions = [parser.OFPInstructionActions(proto.OFPIT_APPLY_ACTIONS, actions)]
            datapath.send_msg(parser.OFPFlowMod(datapath, priority=10, match=match, instructions=instructions))
        datapath.send_msg(parser.OFPBarrierRequest(datapath))

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
    global FLOWS
    port, FLOWS = int(sys.argv[1]), int(sys.argv[2])
    # An application must be importable by the name that the manager is given.
    sys.modules["arp_responder"] = sys.modules["__main__"]
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    from os_ken.controller import controller  # noqa: F401  (registers the options set below)

    cfg.CONF(args=["--ofp-listen-host", "127.0.0.1", "--ofp-tcp-listen-port", str(port)], project="os_ken", prog="peer")
    manager = app_manager.AppManager.get_instance()
    manager.load_apps(["arp_responder", "os_ken.controller.ofp_handler"])
    services = manager.instantiate_apps(**manager.create_contexts())
    try:
        hub.joinall(services)
    finally:
        manager.close()


if __name__ == "__main__":
    main()
