#!/usr/bin/env python3
"""The OpenFlow 1.3 implementation of os-ken beside this project's.

`os_ken_golden.py generate` prints frames that os-ken wrote: a line of JSON about the frame, then its bytes in hex.
`os_ken_golden.py check FILE` reads frames in hex, one a line, has os-ken parse each into its objects and write it again,
and fails if a byte differs. Where os-ken has no reader or no writer for a whole message, its own structure formats frame
its readers and writers of the parts (matches, actions, instructions, buckets, bands, properties).
`os_ken_golden.py classes` fails unless every message, action, instruction, band and property that os-ken knows is in the
frames of `generate`, or in NOT_COVERED with the reason.
"""

import json
import struct
import sys
from importlib.metadata import version

from os_ken.lib import addrconv
from os_ken.ofproto import ofproto_parser, ofproto_protocol
from os_ken.ofproto import ofproto_v1_3 as ofp
from os_ken.ofproto import ofproto_v1_3_parser as parser
from os_ken.ofproto import nicira_ext

DATAPATH = ofproto_protocol.ProtocolDesc(version=ofp.OFP_VERSION)
HEADER = ofp.OFP_HEADER_SIZE


def padded(length):
    return (length + 7) // 8 * 8


def frame(message_type, xid, *parts):
    body = b"".join(bytes(part) for part in parts)
    return struct.pack(ofp.OFP_HEADER_PACK_STR, ofp.OFP_VERSION, message_type, HEADER + len(body), xid) + body


def with_padding(unpadded):
    """os-ken counts the zeros behind some of Nicira's actions (learn, the stack) in the length, but does not write them."""

    def serialize(action, buf, offset):
        unpadded(action, buf, offset)
        buf += bytes(offset + action.len - len(buf))

    return serialize


parser.NXAction.serialize = with_padding(parser.NXAction.serialize)


def oxm_id_bytes(oxm_id):
    """os-ken reads the length in a field's header, but writes 0."""
    number, _value, _mask = ofp.oxm_from_user(oxm_id.type, None)
    return struct.pack("!I", number << 9 | oxm_id.hasmask << 8 | (oxm_id.length or 0))


parser.OFPOxmId.serialize = oxm_id_bytes


# Writers of parts.


def match_bytes(match):
    out = bytearray()
    match.serialize(out, 0)
    return bytes(out)


def list_bytes(items):
    out = bytearray()
    for item in items:
        item.serialize(out, len(out))
    return bytes(out)


def written(message, xid):
    message.xid = xid
    message.serialize()
    return bytes(message.buf)


# Readers of parts.


def read_match(data, offset):
    match = parser.OFPMatch.parser(data, offset)
    return match, offset + padded(match.length)


def read_list(reader, data, offset, end):
    items = []
    while offset < end:
        item = reader(data, offset)
        items.append(item)
        offset += item.len
    assert offset == end, f"{offset} is not the end {end}"
    return items


def read_actions(data, offset, end):
    return read_list(parser.OFPAction.parser, data, offset, end)


def read_instructions(data, offset, end):
    return read_list(parser.OFPInstruction.parser, data, offset, end)


def read_bands(data, offset, end):
    return read_list(parser.OFPMeterBandHeader.parser, data, offset, end)


def read_buckets(data, offset, end):
    return read_list(parser.OFPBucket.parser, data, offset, end)


# Whole messages read and written again.


def again(data):
    version_, message_type, length, xid = struct.unpack_from(ofp.OFP_HEADER_PACK_STR, data)
    assert (version_, length) == (ofp.OFP_VERSION, len(data))

    def parsed():
        return ofproto_parser.msg(DATAPATH, version_, message_type, length, xid, data)

    def unpack(fmt):
        return struct.unpack_from(fmt, data, HEADER)

    def simple(fmt, *values):
        return frame(message_type, xid, struct.pack(fmt, *values))

    if message_type == ofp.OFPT_HELLO:
        return hello(xid, [version for element in parsed().elements for version in element.versions])
    if message_type in (
        ofp.OFPT_ERROR, ofp.OFPT_ECHO_REQUEST, ofp.OFPT_ECHO_REPLY, ofp.OFPT_FLOW_MOD, ofp.OFPT_EXPERIMENTER
    ):
        return written(parsed(), xid)
    if message_type == ofp.OFPT_FEATURES_REPLY:
        return features(xid, parsed())
    if message_type == ofp.OFPT_GET_CONFIG_REPLY:
        message = parsed()
        return simple(ofp.OFP_SWITCH_CONFIG_PACK_STR, message.flags, message.miss_send_len)
    if message_type == ofp.OFPT_SET_CONFIG:
        return written(parser.OFPSetConfig(DATAPATH, *unpack(ofp.OFP_SWITCH_CONFIG_PACK_STR)), xid)
    if message_type == ofp.OFPT_PACKET_IN:
        return packet_in(xid, parsed())
    if message_type == ofp.OFPT_FLOW_REMOVED:
        return flow_removed(xid, parsed())
    if message_type == ofp.OFPT_PORT_STATUS:
        message = parsed()
        return frame(message_type, xid, struct.pack("!B7x", message.reason), port_bytes(message.desc))
    if message_type == ofp.OFPT_PACKET_OUT:
        buffer_id, in_port, actions_length = unpack("!IIH6x")
        start = HEADER + 16
        actions = read_actions(data, start, start + actions_length)
        message = parser.OFPPacketOut(DATAPATH, buffer_id, in_port, actions, data[start + actions_length :])
        return written(message, xid)
    if message_type == ofp.OFPT_GROUP_MOD:
        command, group_type, group_id = unpack(ofp.OFP_GROUP_MOD_PACK_STR)
        buckets = read_buckets(data, HEADER + 8, length)
        return written(parser.OFPGroupMod(DATAPATH, command, group_type, group_id, buckets), xid)
    if message_type == ofp.OFPT_PORT_MOD:
        port_no, hw_addr, config, mask, advertise = unpack(ofp.OFP_PORT_MOD_PACK_STR)
        hw_addr = addrconv.mac.bin_to_text(hw_addr)
        return written(parser.OFPPortMod(DATAPATH, port_no, hw_addr, config, mask, advertise), xid)
    if message_type == ofp.OFPT_TABLE_MOD:
        return written(parser.OFPTableMod(DATAPATH, *unpack(ofp.OFP_TABLE_MOD_PACK_STR)), xid)
    if message_type == ofp.OFPT_METER_MOD:
        bands = read_bands(data, HEADER + 8, length)
        return written(parser.OFPMeterMod(DATAPATH, *unpack(ofp.OFP_METER_MOD_PACK_STR), bands), xid)
    if message_type == ofp.OFPT_QUEUE_GET_CONFIG_REQUEST:
        return written(
            parser.OFPQueueGetConfigRequest(DATAPATH, *unpack(ofp.OFP_QUEUE_GET_CONFIG_REQUEST_PACK_STR)), xid
        )
    if message_type == ofp.OFPT_QUEUE_GET_CONFIG_REPLY:
        return queue_config(xid, parsed())
    if message_type == ofp.OFPT_GET_ASYNC_REPLY:
        message = parsed()
        masks = message.packet_in_mask + message.port_status_mask + message.flow_removed_mask
        return simple(ofp.OFP_ASYNC_CONFIG_PACK_STR, *masks)
    if message_type == ofp.OFPT_SET_ASYNC:
        masks = unpack(ofp.OFP_ASYNC_CONFIG_PACK_STR)
        return written(parser.OFPSetAsync(DATAPATH, masks[0:2], masks[2:4], masks[4:6]), xid)
    if message_type == ofp.OFPT_ROLE_REQUEST:
        role, generation_id = unpack(ofp.OFP_ROLE_REQUEST_PACK_STR)
        return written(parser.OFPRoleRequest(DATAPATH, role, generation_id), xid)
    if message_type == ofp.OFPT_ROLE_REPLY:
        message = parsed()
        return simple(ofp.OFP_ROLE_REQUEST_PACK_STR, message.role, message.generation_id)
    if message_type == ofp.OFPT_MULTIPART_REQUEST:
        return multipart_request_again(data, xid)
    if message_type == ofp.OFPT_MULTIPART_REPLY:
        return multipart_reply(xid, parsed())
    empty = {
        ofp.OFPT_FEATURES_REQUEST: parser.OFPFeaturesRequest,
        ofp.OFPT_GET_CONFIG_REQUEST: parser.OFPGetConfigRequest,
        ofp.OFPT_BARRIER_REQUEST: parser.OFPBarrierRequest,
        ofp.OFPT_BARRIER_REPLY: parser.OFPBarrierReply,
        ofp.OFPT_GET_ASYNC_REQUEST: parser.OFPGetAsyncRequest,
    }
    return written(empty[message_type](DATAPATH), xid)


def queue_property_bytes(entry):
    if entry.property == ofp.OFPQT_EXPERIMENTER:
        body = struct.pack(ofp.OFP_QUEUE_PROP_EXPERIMENTER_PACK_STR, entry.experimenter) + bytes(entry.data)
    else:
        body = struct.pack(ofp.OFP_QUEUE_PROP_MIN_RATE_PACK_STR, entry.rate)
    return struct.pack(ofp.OFP_QUEUE_PROP_HEADER_PACK_STR, entry.property, 8 + len(body)) + body


def queue_config(xid, message):
    queues = []
    for queue in message.queues:
        properties = b"".join(queue_property_bytes(entry) for entry in queue.properties)
        head = struct.pack(ofp.OFP_PACKET_QUEUE_PACK_STR, queue.queue_id, queue.port, 16 + len(properties))
        queues.append(head + properties)
    head = struct.pack(ofp.OFP_QUEUE_GET_CONFIG_REPLY_PACK_STR, message.port)
    return frame(ofp.OFPT_QUEUE_GET_CONFIG_REPLY, xid, head, *queues)


def hello(xid, versions):
    if not versions:
        return frame(ofp.OFPT_HELLO, xid)
    bitmap = sum(1 << version for version in versions)
    header = struct.pack(ofp.OFP_HELLO_ELEM_VERSIONBITMAP_HEADER_PACK_STR, ofp.OFPHET_VERSIONBITMAP, 8)
    return frame(ofp.OFPT_HELLO, xid, header, struct.pack("!I", bitmap))


def features(xid, message):
    return frame(
        ofp.OFPT_FEATURES_REPLY,
        xid,
        struct.pack(
            ofp.OFP_SWITCH_FEATURES_PACK_STR,
            message.datapath_id,
            message.n_buffers,
            message.n_tables,
            message.auxiliary_id,
            message.capabilities,
            getattr(message, "_reserved", 0),
        ),
    )


def packet_in(xid, message):
    head = struct.pack(
        ofp.OFP_PACKET_IN_PACK_STR,
        message.buffer_id,
        message.total_len,
        message.reason,
        message.table_id,
        message.cookie,
    )
    return frame(ofp.OFPT_PACKET_IN, xid, head, match_bytes(message.match), bytes(2), message.data)


def flow_removed(xid, message):
    head = struct.pack(
        "!QHBBIIHHQQ",
        message.cookie,
        message.priority,
        message.reason,
        message.table_id,
        message.duration_sec,
        message.duration_nsec,
        message.idle_timeout,
        message.hard_timeout,
        message.packet_count,
        message.byte_count,
    )
    return frame(ofp.OFPT_FLOW_REMOVED, xid, head, match_bytes(message.match))


def port_bytes(port):
    return struct.pack(
        ofp.OFP_PORT_PACK_STR,
        port.port_no,
        addrconv.mac.text_to_bin(port.hw_addr),
        port.name,
        port.config,
        port.state,
        port.curr,
        port.advertised,
        port.supported,
        port.peer,
        port.curr_speed,
        port.max_speed,
    )


def multipart_request_again(data, xid):
    kind, flags = struct.unpack_from(ofp.OFP_MULTIPART_REQUEST_PACK_STR, data, HEADER)
    offset = HEADER + 8
    if kind in (ofp.OFPMP_FLOW, ofp.OFPMP_AGGREGATE):
        cls = parser.OFPFlowStatsRequest if kind == ofp.OFPMP_FLOW else parser.OFPAggregateStatsRequest
        values = struct.unpack_from(ofp.OFP_AGGREGATE_STATS_REQUEST_0_PACK_STR, data, offset)
        match, end = read_match(data, offset + 32)
        assert end == len(data)
        return written(cls(DATAPATH, flags, *values, match), xid)
    if kind in (ofp.OFPMP_PORT_STATS, ofp.OFPMP_GROUP):
        cls = parser.OFPPortStatsRequest if kind == ofp.OFPMP_PORT_STATS else parser.OFPGroupStatsRequest
        return written(cls(DATAPATH, flags, *struct.unpack_from("!I4x", data, offset)), xid)
    if kind == ofp.OFPMP_QUEUE:
        port_no, queue_id = struct.unpack_from(ofp.OFP_QUEUE_STATS_REQUEST_PACK_STR, data, offset)
        return written(parser.OFPQueueStatsRequest(DATAPATH, flags, port_no, queue_id), xid)
    if kind in (ofp.OFPMP_METER, ofp.OFPMP_METER_CONFIG):
        cls = parser.OFPMeterStatsRequest if kind == ofp.OFPMP_METER else parser.OFPMeterConfigStatsRequest
        return written(cls(DATAPATH, flags, *struct.unpack_from("!I4x", data, offset)), xid)
    if kind == ofp.OFPMP_TABLE_FEATURES:
        tables = []
        while offset < len(data):
            tables.append(parser.OFPTableFeaturesStats.parser(data, offset))
            offset += tables[-1].length
        return written(parser.OFPTableFeaturesStatsRequest(DATAPATH, flags, tables), xid)
    if kind == ofp.OFPMP_EXPERIMENTER:
        body = parser.OFPExperimenterMultipart.parser(data, offset)
        return written(parser.OFPExperimenterStatsRequest(DATAPATH, flags, *body), xid)
    empty = {
        ofp.OFPMP_TABLE: parser.OFPTableStatsRequest,
        ofp.OFPMP_GROUP_FEATURES: parser.OFPGroupFeaturesStatsRequest,
        ofp.OFPMP_METER_FEATURES: parser.OFPMeterFeaturesStatsRequest,
        ofp.OFPMP_DESC: parser.OFPDescStatsRequest,
        ofp.OFPMP_GROUP_DESC: parser.OFPGroupDescStatsRequest,
        ofp.OFPMP_PORT_DESC: parser.OFPPortDescStatsRequest,
    }
    return written(empty[kind](DATAPATH, flags), xid)


def multipart_reply(xid, message):
    head = struct.pack(ofp.OFP_MULTIPART_REPLY_PACK_STR, message.type, message.flags)
    entries = message.body if isinstance(message.body, list) else [message.body]
    return frame(ofp.OFPT_MULTIPART_REPLY, xid, head, *(ENTRY_BYTES[message.type](entry) for entry in entries))


def description_bytes(entry):
    # os-ken reads text as bytes; the last of them is the terminating zero.
    texts = (entry.mfr_desc, entry.hw_desc, entry.sw_desc, entry.serial_num, entry.dp_desc)
    return struct.pack(ofp.OFP_DESC_PACK_STR, *(t if isinstance(t, bytes) else t.encode() for t in texts))


def flow_stats_bytes(entry):
    rest = match_bytes(entry.match) + list_bytes(entry.instructions)
    return (
        struct.pack(
            "!HBxIIHHHH4xQQQ",
            48 + len(rest),
            entry.table_id,
            entry.duration_sec,
            entry.duration_nsec,
            entry.priority,
            entry.idle_timeout,
            entry.hard_timeout,
            entry.flags,
            entry.cookie,
            entry.packet_count,
            entry.byte_count,
        )
        + rest
    )


def aggregate_bytes(entry):
    return struct.pack(
        ofp.OFP_AGGREGATE_STATS_REPLY_PACK_STR, entry.packet_count, entry.byte_count, entry.flow_count
    )


def port_stats_bytes(entry):
    return struct.pack(
        ofp.OFP_PORT_STATS_PACK_STR,
        entry.port_no,
        entry.rx_packets,
        entry.tx_packets,
        entry.rx_bytes,
        entry.tx_bytes,
        entry.rx_dropped,
        entry.tx_dropped,
        entry.rx_errors,
        entry.tx_errors,
        entry.rx_frame_err,
        entry.rx_over_err,
        entry.rx_crc_err,
        entry.collisions,
        entry.duration_sec,
        entry.duration_nsec,
    )


def group_stats_bytes(entry):
    buckets = b"".join(
        struct.pack(ofp.OFP_BUCKET_COUNTER_PACK_STR, bucket.packet_count, bucket.byte_count)
        for bucket in entry.bucket_stats
    )
    head = struct.pack(
        ofp.OFP_GROUP_STATS_PACK_STR,
        40 + len(buckets),
        entry.group_id,
        entry.ref_count,
        entry.packet_count,
        entry.byte_count,
        entry.duration_sec,
        entry.duration_nsec,
    )
    return head + buckets


def group_description_bytes(entry):
    buckets = list_bytes(entry.buckets)
    return struct.pack(ofp.OFP_GROUP_DESC_PACK_STR, 8 + len(buckets), entry.type, entry.group_id) + buckets


def table_stats_bytes(entry):
    counts = (entry.active_count, entry.lookup_count, entry.matched_count)
    return struct.pack(ofp.OFP_TABLE_STATS_PACK_STR, entry.table_id, *counts)


def queue_stats_bytes(entry):
    counts = (entry.tx_bytes, entry.tx_packets, entry.tx_errors, entry.duration_sec, entry.duration_nsec)
    return struct.pack(ofp.OFP_QUEUE_STATS_PACK_STR, entry.port_no, entry.queue_id, *counts)


def group_features_bytes(entry):
    return struct.pack(
        ofp.OFP_GROUP_FEATURES_PACK_STR, entry.types, entry.capabilities, *entry.max_groups, *entry.actions
    )


def meter_stats_bytes(entry):
    bands = b"".join(
        struct.pack(ofp.OFP_METER_BAND_STATS_PACK_STR, band.packet_band_count, band.byte_band_count)
        for band in entry.band_stats
    )
    head = struct.pack(
        ofp.OFP_METER_STATS_PACK_STR,
        entry.meter_id,
        40 + len(bands),
        entry.flow_count,
        entry.packet_in_count,
        entry.byte_in_count,
        entry.duration_sec,
        entry.duration_nsec,
    )
    return head + bands


def meter_config_bytes(entry):
    bands = list_bytes(entry.bands)
    return struct.pack(ofp.OFP_METER_CONFIG_PACK_STR, 8 + len(bands), entry.flags, entry.meter_id) + bands


def meter_features_bytes(entry):
    return struct.pack(
        ofp.OFP_METER_FEATURES_PACK_STR,
        entry.max_meter,
        entry.band_types,
        entry.capabilities,
        entry.max_bands,
        entry.max_color,
    )


ENTRY_BYTES = {
    ofp.OFPMP_TABLE: table_stats_bytes,
    ofp.OFPMP_QUEUE: queue_stats_bytes,
    ofp.OFPMP_GROUP_FEATURES: group_features_bytes,
    ofp.OFPMP_METER: meter_stats_bytes,
    ofp.OFPMP_METER_CONFIG: meter_config_bytes,
    ofp.OFPMP_METER_FEATURES: meter_features_bytes,
    ofp.OFPMP_TABLE_FEATURES: lambda entry: bytes(entry.serialize()),
    ofp.OFPMP_EXPERIMENTER: lambda entry: bytes(entry.serialize()),
    ofp.OFPMP_DESC: description_bytes,
    ofp.OFPMP_FLOW: flow_stats_bytes,
    ofp.OFPMP_AGGREGATE: aggregate_bytes,
    ofp.OFPMP_PORT_STATS: port_stats_bytes,
    ofp.OFPMP_GROUP: group_stats_bytes,
    ofp.OFPMP_GROUP_DESC: group_description_bytes,
    ofp.OFPMP_PORT_DESC: port_bytes,
}


# Frames of every kind.


def matches():
    match = parser.OFPMatch
    mac, other = "02:46:53:01:00:03", "02:46:53:01:00:04"
    return [
        match(),
        match(in_port=7),
        match(metadata=(0x12, 0xFF), eth_dst=mac, eth_src=(other, "ff:ff:ff:00:00:00")),
        match(vlan_vid=0x1005, vlan_pcp=3),
        match(eth_type=0x800, ip_dscp=46, ip_ecn=1, ip_proto=6, tcp_src=80, tcp_dst=8080),
        match(eth_type=0x800, ipv4_src="10.0.0.1", ipv4_dst=("10.1.0.0", "255.255.0.0")),
        match(eth_type=0x800, ip_proto=17, udp_src=53, udp_dst=(0x8000, 0x8000)),
        match(eth_type=0x800, ip_proto=1, icmpv4_type=8, icmpv4_code=0),
        match(eth_type=0x806, arp_op=1, arp_spa="10.0.0.1", arp_tpa="10.0.0.2", arp_sha=mac, arp_tha=other),
        match(eth_type=0x86DD, ipv6_src="2001:db8::1", ipv6_dst=("ff02::", "ffff::")),
        match(eth_type=0x86DD, ip_proto=58, icmpv6_type=135, icmpv6_code=0, ipv6_nd_target="fe80::1", ipv6_nd_sll=mac),
        match(eth_type=0x86DD, ip_proto=58, icmpv6_type=136, ipv6_nd_tll=mac),
        match(tunnel_id=9),
        match(eth_type=0x800, ip_proto=6, tcp_flags_nxm=(2, 0x12)),
        match(eth_type=0x800, ct_state=(0x21, 0x21), ct_zone=7, ct_mark=3),
        match(eth_type=0x800, nw_ttl=1),
        match(reg0=1, reg1=(2, 3), reg15=4),
        match(eth_type=0x800, ct_label=5, pkt_mark=6),
        match(eth_type=0x8847, mpls_label=16, mpls_tc=1, mpls_bos=1, mpls_ttl=3),
    ]


def single_fields():
    """Every field that os-ken knows, alone, with and without a mask."""
    matches = []
    for field in ofp.oxm_types:
        size = field.type.size
        value, mask = (field.type.to_user(bytes([byte]) * size) for byte in (0x11, 0x33))
        matches += [parser.OFPMatch(**{field.name: value}), parser.OFPMatch(**{field.name: (value, mask)})]
    return matches


def action_lists():
    p = parser
    specs = [
        p.NXFlowSpecMatch(src=0x800, dst=("eth_type", 0), n_bits=16),
        p.NXFlowSpecMatch(src=6, dst=("ip_proto", 0), n_bits=8),
        p.NXFlowSpecMatch(src=("ipv4_dst", 0), dst=("ipv4_src", 0), n_bits=32),
        p.NXFlowSpecMatch(src=("ipv4_src_nxm", 0), dst=("ipv4_dst_nxm", 0), n_bits=32),
        p.NXFlowSpecMatch(src=("reg1", 1), dst=("reg2", 3), n_bits=5),
        p.NXFlowSpecLoad(src=1, dst=("reg4", 0), n_bits=1),
        p.NXFlowSpecLoad(src=0x123456789ABC, dst=("eth_dst", 0), n_bits=48),
        p.NXFlowSpecLoad(src=("eth_src", 0), dst=("eth_dst", 0), n_bits=48),
        p.NXFlowSpecOutput(src=("reg7", 1), dst="", n_bits=5),
    ]
    learn = {
        "idle_timeout": 30,
        "hard_timeout": 300,
        "priority": 100,
        "cookie": 0x64,
        "flags": ofp.OFPFF_SEND_FLOW_REM,
        "fin_idle_timeout": 2,
        "fin_hard_timeout": 5,
    }

    def ct(flags, recirc_table, actions):
        return p.NXActionCT(
            flags=flags, zone_src="", zone_ofs_nbits=7, recirc_table=recirc_table, alg=0, actions=actions
        )

    def bits(start, end):
        return start << 6 | (end - start)

    def multipath(fields):
        return p.NXActionMultipath(
            fields=fields, basis=50, algorithm=0, max_link=255, arg=0, ofs_nbits=bits(0, 15), dst="reg0"
        )

    return [
        [],
        [p.OFPActionOutput(3, 0), p.OFPActionOutput(ofp.OFPP_CONTROLLER, ofp.OFPCML_NO_BUFFER)],
        [p.OFPActionGroup(9), p.OFPActionSetQueue(1)],
        [p.OFPActionPushVlan(0x8100), p.OFPActionSetField(vlan_vid=0x1007), p.OFPActionPopVlan()],
        [p.OFPActionSetNwTtl(64), p.OFPActionDecNwTtl()],
        [
            p.OFPActionSetField(eth_dst="02:46:53:01:00:03"),
            p.OFPActionSetField(ipv4_dst="10.0.0.2"),
            p.OFPActionSetField(ipv6_dst="2001:db8::2"),
            p.OFPActionSetField(tcp_dst=80),
            p.OFPActionSetField(ip_dscp=10),
            p.OFPActionSetField(reg0=12),
            p.OFPActionSetField(tunnel_id=13),
        ],
        [
            p.NXActionRegLoad(ofs_nbits=bits(0, 15), dst="reg0", value=5),
            p.NXActionRegLoad(ofs_nbits=bits(0, 63), dst="metadata", value=0x1122334455667788),
            p.NXActionRegLoad(ofs_nbits=bits(0, 47), dst="eth_dst_nxm", value=5),
        ],
        [
            p.NXActionRegMove(src_field="eth_src", dst_field="eth_dst", n_bits=48),
            p.NXActionRegMove(src_field="reg0", dst_field="tcp_dst", n_bits=16, src_ofs=16, dst_ofs=0),
            p.NXActionRegMove(src_field="ct_mark", dst_field="reg1", n_bits=8, src_ofs=0, dst_ofs=24),
        ],
        [p.NXActionResubmitTable(in_port=0xFFF8, table_id=20)],
        [p.NXActionOutputReg(ofs_nbits=bits(0, 15), src="reg0", max_len=0xFFFF)],
        [p.NXActionLearn(table_id=10, specs=specs, **learn)],
        [p.NXActionLearn(table_id=10, specs=specs[:1], **learn)],
        [ct(0, 1, [])],
        [ct(1, 0xFF, [p.OFPActionSetField(ct_mark=4)]), p.OFPActionOutput(2, 0)],
        [ct(3, 4, [p.NXActionRegMove(src_field="reg0", dst_field="ct_mark", n_bits=32)])],
        [multipath(1), multipath(3)],
        [
            p.NXActionStackPush(field="ipv4_src", start=0, end=32),
            p.NXActionStackPop(field="reg1", start=4, end=16),
            p.NXActionFinTimeout(fin_idle_timeout=2, fin_hard_timeout=5),
        ],
        [p.NXActionNote(note=[1, 2, 3, 4, 5, 6]), p.NXActionExit(), p.NXActionConjunction(1, 2, 3)],
        [p.OFPActionPushMpls(0x8847), p.OFPActionSetMplsTtl(3), p.OFPActionPopMpls(0x800), p.OFPActionCopyTtlOut()],
        [p.OFPActionDecMplsTtl(), p.OFPActionCopyTtlIn(), p.OFPActionPushPbb(0x88E7), p.OFPActionPopPbb()],
        [p.NXActionSetTunnel(tun_id=5), p.NXActionSetTunnel64(tun_id=6), p.NXActionCTClear()],
        [p.NXActionController(max_len=64, controller_id=5, reason=1), p.NXActionDecTtlCntIds(cnt_ids=[1, 2, 3, 4, 5])],
        [p.NXActionSample(0x8000, 1, 2, 3), p.NXActionOutputTrunc(port=1, max_len=100)],
        [p.NXActionOutputReg2(ofs_nbits=bits(4, 19), src="reg0", max_len=64)],
        [p.NXActionRegLoad2(dst="tun_ipv4_src", value="192.168.10.0")],
        [p.NXActionBundle(1, 0, 7, 2, 2, 0, 0, [2, 3])],
        [p.NXActionBundleLoad(0, 1, 7, 2, 5, bits(0, 15), "reg0", [2, 3, 4, 5, 6])],
        [ct(1, 0xFF, [p.NXActionNAT(1, "10.0.0.1", "10.0.0.9", range_proto_min=1024, range_proto_max=2048)])],
        [ct(1, 0xFF, [p.NXActionNAT(2, range_ipv6_min="2001:db8::1", range_ipv6_max="2001:db8::9")])],
    ] + [[action] for action in kept_actions()]


def kept_actions():
    """Actions that this project has no value for: they stay bytes."""
    p = parser
    return [
        p.OFPActionExperimenterUnknown(0x1234, bytes(8)),
        p.NXActionUnknown(99, bytes(6)),
        p.NXActionPopQueue(),
        p.NXActionSetQueue(queue_id=3),
        p.NXActionDecTtl(),
        p.NXActionResubmit(in_port=8),
        p.NXActionPushMpls(ethertype=0x8847),
        p.NXActionPopMpls(ethertype=0x800),
        p.NXActionSetMplsTtl(ttl=3),
        p.NXActionDecMplsTtl(),
        p.NXActionSetMplsLabel(label=5),
        p.NXActionSetMplsTc(tc=3),
        p.NXActionSample2(0x8000, 1, 2, 3, 4),
        p.NXActionController2(max_len=64, controller_id=5, reason=1),
        p.NXActionEncapEther(),
        p.NXActionDecNshTtl(),
    ]


def instruction_lists():
    p = parser
    apply_, write, clear = ofp.OFPIT_APPLY_ACTIONS, ofp.OFPIT_WRITE_ACTIONS, ofp.OFPIT_CLEAR_ACTIONS
    yield []
    yield [p.OFPInstructionGotoTable(20)]
    yield [p.OFPInstructionMeter(1), p.OFPInstructionGotoTable(1)]
    yield [p.OFPInstructionWriteMetadata(0x1234, 0xFFFF), p.OFPInstructionActions(clear, [])]
    for actions in action_lists():
        yield [p.OFPInstructionActions(apply_, actions)]
    yield [
        p.OFPInstructionActions(apply_, [p.NXActionResubmitTable(0xFFF8, 20)]),
        p.OFPInstructionActions(write, [p.OFPActionSetField(eth_dst="02:46:53:01:00:03"), p.OFPActionOutput(1, 0)]),
    ]


def buckets():
    p = parser
    yield p.OFPBucket(90, ofp.OFPP_ANY, ofp.OFPG_ANY, [p.NXActionRegLoad(15, "reg0", 3), p.OFPActionOutput(1, 0)])
    yield p.OFPBucket(10, 2, ofp.OFPG_ANY, [p.OFPActionSetField(eth_dst="02:46:53:01:00:03"), p.OFPActionOutput(2, 0)])
    yield p.OFPBucket(0, ofp.OFPP_ANY, 7, [])


def port():
    return parser.OFPPort(3, "02:00:00:00:00:03", b"eth3", 1, 5, 0x2820, 0x1000, 0x2000, 0x4000, 10_000_000, 40_000_000)


class Values:
    """Named values, where os-ken's own class cannot be made by hand."""

    def __init__(self, **values):
        self.__dict__.update(values)


def flow_stats(match, instructions):
    return Values(
        table_id=10,
        duration_sec=5,
        duration_nsec=6,
        priority=100,
        idle_timeout=30,
        hard_timeout=300,
        flags=1,
        cookie=0x77,
        packet_count=8,
        byte_count=900,
        match=match,
        instructions=instructions,
    )


def frames():
    p = parser
    yield "hello with bitmap", hello(1, [1, 4])
    yield "hello without", hello(2, [])
    yield "error", written(p.OFPErrorMsg(DATAPATH, 11, 0, bytes(range(64))), 3)
    yield "echo request", written(p.OFPEchoRequest(DATAPATH, b"alive?"), 4)
    yield "echo reply", written(p.OFPEchoReply(DATAPATH, b"alive!"), 5)
    yield "features request", written(p.OFPFeaturesRequest(DATAPATH), 6)
    values = Values(datapath_id=0x1122334455667788, n_buffers=0, n_tables=254, auxiliary_id=0, capabilities=0x4F)
    yield "features reply", features(7, values)
    yield "get config request", written(p.OFPGetConfigRequest(DATAPATH), 8)
    yield "get config reply", frame(ofp.OFPT_GET_CONFIG_REPLY, 9, struct.pack(ofp.OFP_SWITCH_CONFIG_PACK_STR, 0, 128))
    yield "set config", written(p.OFPSetConfig(DATAPATH, 0, 0xFFFF), 10)
    for match in matches():
        values = Values(
            buffer_id=ofp.OFP_NO_BUFFER, total_len=60, reason=1, table_id=3, cookie=0x77, match=match, data=bytes(60)
        )
        yield f"packet in {[name for name, _ in match.items()]}", packet_in(11, values)
        values = flow_stats(match, [])
        values.reason = 0
        yield f"flow removed {[name for name, _ in match.items()]}", flow_removed(12, values)
        yield f"flow mod {[name for name, _ in match.items()]}", written(p.OFPFlowMod(DATAPATH, match=match, instructions=[]), 13)
    for match in single_fields():
        names = [name for name, _ in match.items()]
        yield f"flow mod, alone {names}", written(p.OFPFlowMod(DATAPATH, match=match, instructions=[]), 13)
    yield "port status", frame(ofp.OFPT_PORT_STATUS, 14, struct.pack("!B7x", 2), port_bytes(port()))
    for actions in action_lists():
        if not actions:
            continue  # With no action, os-ken's writer loses the packet's first bytes.
        message = p.OFPPacketOut(DATAPATH, ofp.OFP_NO_BUFFER, ofp.OFPP_CONTROLLER, actions, b"a packet of 21 bytes.")
        yield f"packet out {[type(action).__name__ for action in actions]}", written(message, 15)
    for instructions in instruction_lists():
        message = p.OFPFlowMod(
            DATAPATH,
            cookie=0x4653_0000_0000_0001,
            cookie_mask=0xFFFF_0000_0000_0000,
            table_id=5,
            command=ofp.OFPFC_MODIFY_STRICT,
            idle_timeout=1,
            hard_timeout=2,
            priority=3,
            out_port=4,
            out_group=5,
            flags=ofp.OFPFF_SEND_FLOW_REM | ofp.OFPFF_CHECK_OVERLAP,
            match=p.OFPMatch(in_port=1, eth_type=0x800, ip_proto=6),
            instructions=instructions,
        )
        yield f"flow mod {[type(instruction).__name__ for instruction in instructions]}", written(message, 16)
    for command in (ofp.OFPGC_ADD, ofp.OFPGC_MODIFY, ofp.OFPGC_DELETE):
        for kind in (ofp.OFPGT_ALL, ofp.OFPGT_SELECT, ofp.OFPGT_INDIRECT, ofp.OFPGT_FF):
            yield f"group mod {command} {kind}", written(p.OFPGroupMod(DATAPATH, command, kind, 9, list(buckets())), 17)
    yield "group mod, empty", written(p.OFPGroupMod(DATAPATH, ofp.OFPGC_DELETE, 0, ofp.OFPG_ALL, []), 18)
    yield "role request", written(p.OFPRoleRequest(DATAPATH, ofp.OFPCR_ROLE_MASTER, 5), 19)
    yield "role reply", frame(ofp.OFPT_ROLE_REPLY, 20, struct.pack(ofp.OFP_ROLE_REQUEST_PACK_STR, 3, 6))
    yield "barrier request", written(p.OFPBarrierRequest(DATAPATH), 21)
    yield "barrier reply", written(p.OFPBarrierReply(DATAPATH), 22)
    yield "description request", written(p.OFPDescStatsRequest(DATAPATH, 0), 23)
    match = p.OFPMatch(eth_type=0x800)
    arguments = (ofp.OFPTT_ALL, ofp.OFPP_ANY, ofp.OFPG_ANY, 7, 0xFF, match)
    yield "flow stats request", written(p.OFPFlowStatsRequest(DATAPATH, 0, *arguments), 24)
    yield "aggregate request", written(p.OFPAggregateStatsRequest(DATAPATH, 0, *arguments), 25)
    yield "port stats request", written(p.OFPPortStatsRequest(DATAPATH, 0, ofp.OFPP_ANY), 26)
    yield "group stats request", written(p.OFPGroupStatsRequest(DATAPATH, 0, ofp.OFPG_ALL), 27)
    yield "group description request", written(p.OFPGroupDescStatsRequest(DATAPATH, 0), 28)
    yield "port description request", written(p.OFPPortDescStatsRequest(DATAPATH, 0), 29)
    yield "table stats request", written(p.OFPTableStatsRequest(DATAPATH, 0), 30)
    yield "queue stats request", written(p.OFPQueueStatsRequest(DATAPATH, 0, 3, 4), 30)
    yield "group features request", written(p.OFPGroupFeaturesStatsRequest(DATAPATH, 0), 30)
    yield "meter stats request", written(p.OFPMeterStatsRequest(DATAPATH, 0, 5), 30)
    yield "meter config request", written(p.OFPMeterConfigStatsRequest(DATAPATH, 0, 6), 30)
    yield "meter features request", written(p.OFPMeterFeaturesStatsRequest(DATAPATH, 0), 30)
    yield "table features request", written(p.OFPTableFeaturesStatsRequest(DATAPATH, 0, []), 30)
    yield "table features set", written(p.OFPTableFeaturesStatsRequest(DATAPATH, 0, table_features()), 30)
    yield "experimenter request", written(p.OFPExperimenterStatsRequest(DATAPATH, 0, 0x1234, 5, bytes(range(9))), 30)
    monitor = p.ONFFlowMonitorRequest(1, 2, p.OFPMatch(in_port=3))
    yield "flow monitor request", written(p.ONFFlowMonitorStatsRequest(DATAPATH, 0, [monitor]), 30)
    yield from replies()
    yield from others()
    yield "port mod", written(p.OFPPortMod(DATAPATH, 3, "02:00:00:00:00:03", 1, 1, 0), 40)
    yield "meter mod", written(p.OFPMeterMod(DATAPATH, 0, 1, 1, [p.OFPMeterBandDrop(1000, 10)]), 41)
    yield "get async request", written(p.OFPGetAsyncRequest(DATAPATH), 42)


def others():
    p = parser
    error = p.OFPErrorMsg(DATAPATH, data=bytes(range(64)))
    error.type, error.exp_type, error.experimenter = ofp.OFPET_EXPERIMENTER, 2305, 0x4F4E4600
    yield "experimenter error", written(error, 43)
    yield "table mod", written(p.OFPTableMod(DATAPATH, 3, 1), 44)
    bands = [p.OFPMeterBandDrop(1000, 10), p.OFPMeterBandDscpRemark(500, 5, 2), p.OFPMeterBandExperimenter(9, 8, 0x1234)]
    for command in (ofp.OFPMC_ADD, ofp.OFPMC_MODIFY, ofp.OFPMC_DELETE):
        yield f"meter mod {command}", written(p.OFPMeterMod(DATAPATH, command, 0xD, 1, bands), 45)
    yield "queue config request", written(p.OFPQueueGetConfigRequest(DATAPATH, 3), 46)
    minimum, maximum, other = p.OFPQueuePropMinRate(10), p.OFPQueuePropMaxRate(900), p.OFPQueuePropExperimenter(0x1234)
    other.data = list(range(8))
    for entry in (minimum, maximum, other):
        entry.property = entry.cls_property
    queues = [p.OFPPacketQueue(1, 3, [minimum, maximum, other]), p.OFPPacketQueue(2, 3, [])]
    yield "queue config", queue_config(47, Values(port=3, queues=queues))
    yield "async", frame(ofp.OFPT_GET_ASYNC_REPLY, 48, struct.pack(ofp.OFP_ASYNC_CONFIG_PACK_STR, 1, 2, 3, 4, 5, 6))
    yield "set async", written(p.OFPSetAsync(DATAPATH, (1, 2), (3, 4), (5, 6)), 49)
    yield "experimenter", written(p.OFPExperimenter(DATAPATH, 0x1234, 5, bytes(range(11))), 50)
    for control in range(8):
        yield f"bundle control {control}", written(p.ONFBundleCtrlMsg(DATAPATH, 7, control, 3, []), 51)
    flow = p.OFPFlowMod(DATAPATH, match=p.OFPMatch(in_port=1), instructions=[p.OFPInstructionGotoTable(2)])
    # Its transaction id becomes that of the line in the file.
    yield "bundle add", written(p.ONFBundleAddMsg(DATAPATH, 7, 3, flow, []), 52)
    yield "packet in format", written(p.NXTSetPacketInFormatMsg(DATAPATH, 2), 53)
    properties = [p.NXTPacketIn2PropPacket(nicira_ext.NXPINT_PACKET, data=bytes(range(60)))]
    yield "packet in 2", written(p.NXTPacketIn2(DATAPATH, properties), 54)


def table_features():
    p = parser
    ids = [p.OFPInstructionId(kind) for kind in range(1, 7)]
    actions = [p.OFPActionId(kind) for kind in (0, 22, 25)]
    fields = [p.OFPOxmId("in_port", False, 4), p.OFPOxmId("eth_dst", True, 12)]
    properties = []
    for kind in (ofp.OFPTFPT_INSTRUCTIONS, ofp.OFPTFPT_INSTRUCTIONS_MISS):
        properties.append(p.OFPTableFeaturePropInstructions(kind, instruction_ids=ids))
    for kind in (ofp.OFPTFPT_NEXT_TABLES, ofp.OFPTFPT_NEXT_TABLES_MISS):
        properties.append(p.OFPTableFeaturePropNextTables(kind, table_ids=list(range(1, 14))))
    for kind in range(ofp.OFPTFPT_WRITE_ACTIONS, ofp.OFPTFPT_APPLY_ACTIONS_MISS + 1):
        properties.append(p.OFPTableFeaturePropActions(kind, action_ids=actions))
    for kind in (ofp.OFPTFPT_MATCH, ofp.OFPTFPT_WILDCARDS, 12, 13, 14, 15):
        properties.append(p.OFPTableFeaturePropOxm(kind, oxm_ids=fields))
    for kind in (ofp.OFPTFPT_EXPERIMENTER, ofp.OFPTFPT_EXPERIMENTER_MISS):
        properties.append(p.OFPTableFeaturePropExperimenter(kind, None, 0x1234, 5, [1, 2, 3]))
    return [
        p.OFPTableFeaturesStats(0, b"classify", 0xFF, 0xF, 1, 1000, properties),
        p.OFPTableFeaturesStats(1, b"", 0, 0, 0, 0, []),
    ]


def replies():
    def reply(kind, *entries, flags=0):
        return multipart_reply(31, Values(type=kind, flags=flags, body=list(entries)))

    description = Values(
        mfr_desc="Nicira, Inc.", hw_desc="Open vSwitch", sw_desc="3.1.0", serial_num="None", dp_desc="None"
    )
    yield "description", reply(ofp.OFPMP_DESC, description)
    stats = [flow_stats(match, []) for match in matches()]
    yield "flow stats by match, more to come", reply(ofp.OFPMP_FLOW, *stats, flags=1)
    stats = [flow_stats(parser.OFPMatch(eth_type=0x800), instructions) for instructions in instruction_lists()]
    yield "flow stats by instructions", reply(ofp.OFPMP_FLOW, *stats)
    yield "flow stats, none", reply(ofp.OFPMP_FLOW)
    yield "aggregate", reply(ofp.OFPMP_AGGREGATE, Values(packet_count=1, byte_count=2, flow_count=3))
    counters = ("rx_packets tx_packets rx_bytes tx_bytes rx_dropped tx_dropped rx_errors tx_errors rx_frame_err "
                "rx_over_err rx_crc_err collisions duration_sec duration_nsec").split()
    ports = [Values(port_no=n, **{name: n * 100 + i for i, name in enumerate(counters)}) for n in (1, 2)]
    yield "port stats", reply(ofp.OFPMP_PORT_STATS, *ports)
    bucket_stats = [Values(packet_count=1, byte_count=60), Values(packet_count=2, byte_count=120)]
    group = Values(group_id=9, ref_count=1, packet_count=3, byte_count=180, duration_sec=4, duration_nsec=5,
                   bucket_stats=bucket_stats)
    yield "group stats", reply(ofp.OFPMP_GROUP, group)
    groups = [Values(type=kind, group_id=kind + 1, buckets=list(buckets())) for kind in range(4)]
    yield "group descriptions", reply(ofp.OFPMP_GROUP_DESC, *groups)
    yield "port descriptions", reply(ofp.OFPMP_PORT_DESC, port(), port())
    yield "table stats", reply(ofp.OFPMP_TABLE, *(parser.OFPTableStats(n, n + 1, n + 2, n + 3) for n in (0, 9)))
    yield "queue stats", reply(ofp.OFPMP_QUEUE, *(parser.OFPQueueStats(n, 1, 2, 3, 4, 5, 6) for n in (0, 9)))
    features = parser.OFPGroupFeaturesStats(15, 3, [1, 2, 3, 4], [5, 6, 7, 8])
    yield "group features", reply(ofp.OFPMP_GROUP_FEATURES, features)
    counts = [parser.OFPMeterBandStats(1, 2), parser.OFPMeterBandStats(3, 4)]
    meters = [parser.OFPMeterStats(1, 2, 3, 4, 5, 6, counts), parser.OFPMeterStats(7, 2, 3, 4, 5, 6, [])]
    yield "meter stats", reply(ofp.OFPMP_METER, *meters)
    bands = [parser.OFPMeterBandDrop(1000, 10), parser.OFPMeterBandDscpRemark(500, 5, 2)]
    yield "meter config", reply(ofp.OFPMP_METER_CONFIG, parser.OFPMeterConfigStats(0xD, 1, bands))
    yield "meter features", reply(ofp.OFPMP_METER_FEATURES, parser.OFPMeterFeaturesStats(1, 2, 3, 4, 5))
    yield "table features", reply(ofp.OFPMP_TABLE_FEATURES, *table_features())
    # os-ken takes every such answer to be 16 bytes long.
    answer = parser.OFPExperimenterMultipart(0x1234, 5, bytes(range(8)))
    yield "experimenter answer", reply(ofp.OFPMP_EXPERIMENTER, answer)


# What os-ken knows, and what of it the frames hold.

BASE = "a base of others, with no form of its own on the wire"
NOT_COVERED = {
    "OFPMultipartRequest": BASE,
    "OFPMultipartReply": BASE,
    "OFPFlowStatsRequestBase": BASE,
    "OFPExperimenterStatsRequestBase": BASE,
    "OFPMeterBandHeader": BASE,
    "OFPAction": BASE,
    "OFPActionExperimenter": BASE,
    "NXAction": BASE,
    "NXActionMplsBase": BASE,
    "NXActionStackBase": BASE,
    "_NXActionSetTunnelBase": BASE,
    "_NXActionBundleBase": BASE,
    "OFPInstruction": BASE,
    "OFPQueueProp": BASE,
    "OFPPropCommonExperimenter4ByteData": BASE,
    "OFPTableFeatureProp": BASE,
    "NXActionEncapNsh": "os-ken fails to make one (NameError in its constructor)",
    "OFPTableFeaturePropUnknown": "a property of a type that no specification has",
}
KINDS = (
    ofproto_parser.MsgBase,
    parser.OFPAction,
    parser.OFPInstruction,
    parser.OFPMeterBandHeader,
    parser.OFPQueueProp,
    parser.OFPTableFeatureProp,
    parser.OFPPropCommonExperimenter4ByteData,
)


def subclasses(cls):
    return {cls}.union(*(subclasses(sub) for sub in cls.__subclasses__()))


def known_classes():
    known = set().union(*(subclasses(kind) for kind in KINDS)) - {ofproto_parser.MsgBase}
    return {cls.__name__ for cls in known if cls.__module__ in (parser.__name__, "os_ken.ofproto.nx_actions")
            and getattr(parser, cls.__name__, None) is cls or cls in subclasses(parser.NXAction)}


def covered_classes():
    """Classes of which an object was read from, or written to, a frame of `generate`."""
    seen = set()

    def watched(unwatched):
        def initialise(self, *arguments, **values):
            seen.add(type(self).__name__)
            unwatched(self, *arguments, **values)

        return initialise

    for cls in set().union(*(subclasses(kind) for kind in KINDS)):
        if "__init__" in cls.__dict__:
            cls.__init__ = watched(cls.__init__)
    for _what, data in frames():
        again(data)
    return seen


def classes():
    known = known_classes()
    covered = covered_classes()
    missing = sorted(known - covered - NOT_COVERED.keys())
    stale = sorted(NOT_COVERED.keys() - known)
    for name in missing:
        print(f"os-ken knows {name}: it is neither in a frame nor in NOT_COVERED")
    for name in stale:
        print(f"NOT_COVERED names {name}, which os-ken does not know")
    print(f"os-ken {version('os-ken')}: {len(known)} classes, {len(known & covered)} in frames, {len(NOT_COVERED)} named")
    return not missing and not stale


def generate():
    print(f"# os-ken {version('os-ken')}")
    for xid, (what, data) in enumerate(frames()):
        data = data[:4] + struct.pack("!I", xid) + data[8:]
        if what == "bundle add":  # Both frames have the same transaction id.
            data = data[:28] + struct.pack("!I", xid) + data[32:]
        print(json.dumps({"frame": what, "bytes": len(data)}))
        print(data.hex())


def check(path):
    failures = count = 0
    with open(path, encoding="ascii") as lines:
        for number, line in enumerate(lines, 1):
            data = bytes.fromhex(line)
            count += 1
            try:
                came = again(data)
            except Exception as error:  # Whatever os-ken raises is this frame's failure.
                came = f"{type(error).__name__}: {error}"
            if came != data:
                failures += 1
                print(f"line {number}\n  sent {data.hex()}\n  came {came.hex() if isinstance(came, bytes) else came}")
    print(f"os-ken {version('os-ken')}: {count} frames, {failures} differ")
    return failures == 0 and count > 0


if __name__ == "__main__":
    if sys.argv[1:] == ["generate"]:
        generate()
    elif len(sys.argv) == 3 and sys.argv[1] == "check":
        sys.exit(0 if check(sys.argv[2]) else 1)
    elif sys.argv[1:] == ["classes"]:
        sys.exit(0 if classes() else 1)
    else:
        sys.exit(f"usage: {sys.argv[0]} generate | check FILE | classes")
