"""Peer of the topology views: os-ken's own link and host discovery, as Ryu's `rest_topology` would show it.

Usage: ryu_peer.py PORT

Every line of standard input is answered by one line of JSON, {"switches": …, "links": …, "hosts": …}: what Ryu's
`/v1.0/topology/…` consists of is made by the same `to_dict` of the same classes. Frames of hosts come to the controller
and are flooded, so that hosts are found.
"""

import json
import logging
import sys

from os_ken.lib import hub

hub.patch()

from os_ken import cfg  # noqa: E402
from os_ken.base import app_manager  # noqa: E402
from os_ken.controller import ofp_event  # noqa: E402
from os_ken.controller.handler import CONFIG_DISPATCHER, set_ev_cls  # noqa: E402
from os_ken.ofproto import ofproto_v1_3  # noqa: E402
from os_ken.topology import switches as topology  # noqa: E402
from os_ken.topology.api import get_host, get_link, get_switch  # noqa: E402


class Views(app_manager.OSKenApp):
    OFP_VERSIONS = [ofproto_v1_3.OFP_VERSION]
    _CONTEXTS = {"switches": topology.Switches}

    def start(self):
        thread = super().start()
        self.threads.append(hub.spawn(self.answer))
        return thread

    @set_ev_cls(ofp_event.EventOFPSwitchFeatures, CONFIG_DISPATCHER)
    def on_switch(self, event):
        datapath = event.msg.datapath
        proto, parser = datapath.ofproto, datapath.ofproto_parser
        everything = proto.OFPTT_ALL
        datapath.send_msg(
            parser.OFPFlowMod(
                datapath,
                command=proto.OFPFC_DELETE,
                table_id=everything,
                out_port=proto.OFPP_ANY,
                out_group=proto.OFPG_ANY,
                match=parser.OFPMatch(),
            )
        )
        actions = [parser.OFPActionOutput(proto.OFPP_CONTROLLER, proto.OFPCML_NO_BUFFER)]
        instructions = [parser.OFPInstructionActions(proto.OFPIT_APPLY_ACTIONS, actions)]
        datapath.send_msg(parser.OFPFlowMod(datapath, priority=0, match=parser.OFPMatch(), instructions=instructions))

    def answer(self):
        from eventlet import tpool

        while tpool.execute(sys.stdin.readline):
            views = {"switches": get_switch(self), "links": get_link(self), "hosts": get_host(self)}
            shown = {name: [each.to_dict() for each in views[name]] for name in views}
            print(json.dumps(shown), flush=True)


def main():
    # An application must be importable by the name that the manager is given.
    sys.modules["ryu_peer"] = sys.modules["__main__"]
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    from os_ken.controller import controller  # noqa: F401  (registers the options set below)

    arguments = ["--ofp-listen-host", "0.0.0.0", "--ofp-tcp-listen-port", sys.argv[1], "--observe-links"]
    cfg.CONF(args=arguments, project="os_ken", prog="peer")
    manager = app_manager.AppManager.get_instance()
    manager.load_apps(["ryu_peer", "os_ken.controller.ofp_handler"])
    services = manager.instantiate_apps(**manager.create_contexts())
    try:
        hub.joinall(services)
    finally:
        manager.close()


if __name__ == "__main__":
    main()
