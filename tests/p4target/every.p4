// A program with every kind of entity that P4Runtime can write, for tests of the emulated target. It forwards by `plain`.

#include <core.p4>
#include <v1model.p4>

header ethernet_t {
    bit<48> dst;
    bit<48> src;
    bit<16> type;
}

@controller_header("packet_in")
header packet_in_t {
    bit<9> ingress_port;
    bit<7> reason;
}

@controller_header("packet_out")
header packet_out_t {
    bit<9> egress_port;
    bit<7> purpose;
}

struct headers_t {
    packet_in_t packet_in;
    packet_out_t packet_out;
    ethernet_t ethernet;
}

struct metadata_t {
    bit<2> colour;
}

struct learned_t {
    bit<48> mac;
    bit<9> port;
}

parser parse(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard) {
    state start {
        transition select(standard.ingress_port) {
            510: from_controller;
            default: frame;
        }
    }
    state from_controller {
        packet.extract(hdr.packet_out);
        transition frame;
    }
    state frame {
        packet.extract(hdr.ethernet);
        transition accept;
    }
}

control check(inout headers_t hdr, inout metadata_t meta) {
    apply { }
}

control ingress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard) {
    counter(8, CounterType.packets) frames;
    counter(4, CounterType.packets_and_bytes) sent;
    meter(4, MeterType.bytes) rates;
    register<bit<16>>(4) cells;
    direct_counter(CounterType.packets_and_bytes) plain_hits;
    direct_meter<bit<2>>(MeterType.packets) metered_rates;
    @max_group_size(16) action_selector(HashAlgorithm.crc16, 64, 16) ways;
    @max_group_size(16) action_selector(HashAlgorithm.crc16, 64, 16) once;
    action_profile(8) common;

    action send(bit<9> port) {
        standard.egress_spec = port;
    }
    action send_as(bit<9> port, bit<48> mac) {
        standard.egress_spec = port;
        hdr.ethernet.src = mac;
    }
    action drop() {
        mark_to_drop(standard);
    }
    action to_controller(bit<7> reason) {
        standard.egress_spec = 510;
        hdr.packet_in.setValid();
        hdr.packet_in.ingress_port = standard.ingress_port;
        hdr.packet_in.reason = reason;
    }
    action learn() {
        digest<learned_t>(1, { hdr.ethernet.src, standard.ingress_port });
    }
    action flood(bit<16> group) {
        standard.mcast_grp = group;
    }
    action metered_send(bit<9> port) {
        metered_rates.read(meta.colour);
        standard.egress_spec = port;
    }
    action counted_send(bit<9> port) {
        plain_hits.count();
        standard.egress_spec = port;
    }
    action counted_to_controller(bit<7> reason) {
        plain_hits.count();
        to_controller(reason);
    }

    table plain {
        key = { standard.ingress_port: exact @name("port"); }
        actions = { counted_send; counted_to_controller; flood; @tableonly drop; @defaultonly NoAction; }
        default_action = NoAction();
        counters = plain_hits;
        size = 8;
    }
    table prefixes {
        key = { hdr.ethernet.type: exact @name("type"); hdr.ethernet.dst: lpm @name("dst"); }
        actions = { send_as; drop; }
        const default_action = drop();
        size = 16;
    }
    table mixed {
        key = {
            standard.ingress_port: exact @name("port");
            hdr.ethernet.dst: ternary @name("dst");
            hdr.ethernet.type: range @name("type");
            hdr.ethernet.src: optional @name("src");
        }
        actions = { send; drop; NoAction; }
        default_action = NoAction();
        size = 16;
    }
    table aging {
        key = { hdr.ethernet.src: exact @name("src"); }
        actions = { NoAction; learn; }
        default_action = learn();
        support_timeout = true;
        size = 4096;
    }
    table metered {
        key = { standard.ingress_port: exact @name("port"); }
        actions = { metered_send; NoAction; }
        default_action = NoAction();
        meters = metered_rates;
        size = 8;
    }
    table fixed {
        key = { hdr.ethernet.type: exact @name("type"); }
        actions = { drop; NoAction; }
        const default_action = NoAction();
        const entries = {
            0x0600: drop();
            0x0601: drop();
        }
    }
    table single {
        actions = { send; drop; NoAction; }
        default_action = NoAction();
    }
    table spread {
        key = { hdr.ethernet.dst: exact @name("dst"); hdr.ethernet.src: selector; hdr.ethernet.type: selector; }
        actions = { send; send_as; drop; }
        implementation = ways;
        size = 8;
    }
    table oneshot {
        key = { hdr.ethernet.dst: exact @name("dst"); hdr.ethernet.src: selector; }
        actions = { send; drop; }
        implementation = once;
        size = 8;
    }
    table members {
        key = { hdr.ethernet.dst: exact @name("dst"); }
        actions = { send; drop; }
        implementation = common;
        size = 8;
    }

    apply {
        if (hdr.packet_out.isValid()) {
            standard.egress_spec = hdr.packet_out.egress_port;
            hdr.packet_out.setInvalid();
        } else {
            bit<16> cell;
            frames.count((bit<32>)standard.ingress_port & 7);
            cells.read(cell, 0);
            cells.write(0, cell + 1);
            rates.execute_meter<bit<2>>(0, meta.colour);
            standard.egress_spec = 511;
            aging.apply();
            metered.apply();
            prefixes.apply();
            spread.apply();
            oneshot.apply();
            members.apply();
            mixed.apply();
            single.apply();
            plain.apply();
            fixed.apply();
            sent.count((bit<32>)standard.egress_spec & 3);
        }
    }
}

control egress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard) {
    apply { }
}

control compute(inout headers_t hdr, inout metadata_t meta) {
    apply { }
}

control deparse(packet_out packet, in headers_t hdr) {
    apply {
        packet.emit(hdr.packet_in);
        packet.emit(hdr.ethernet);
    }
}

V1Switch(parse(), check(), ingress(), egress(), compute(), deparse()) main;
