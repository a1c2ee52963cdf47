// A router by IP address alone, with tables, actions and names as switches with SAI-style P4 programs have them
// (SONiC/PINS): routes lead to a next hop or to a weighted group of next hops, which is written as a one-shot action
// set. It keeps no connections and no pins: a change of weights re-hashes what is established.
//
// Compiled for v1model, so that it runs on BMv2 and on the emulated target. Where such switches have names as keys
// (translated by the switch), this program has numbers.

#include <core.p4>
#include <v1model.p4>

#define CPU_PORT 510
#define ETHERTYPE_IPV4 0x0800

header ethernet_t {
    bit<48> dst_addr;
    bit<48> src_addr;
    bit<16> ether_type;
}

header ipv4_t {
    bit<4> version;
    bit<4> ihl;
    bit<8> diffserv;
    bit<16> total_len;
    bit<16> identification;
    bit<3> flags;
    bit<13> frag_offset;
    bit<8> ttl;
    bit<8> protocol;
    bit<16> header_checksum;
    bit<32> src_addr;
    bit<32> dst_addr;
}

// The first four bytes of TCP and of UDP.
header l4_ports_t {
    bit<16> src_port;
    bit<16> dst_port;
}

@controller_header("packet_in")
header packet_in_t {
    @id(1)
    bit<9> ingress_port;
    @id(2)
    bit<9> target_egress_port;
    @id(3)
    @padding
    bit<6> unused_pad;
}

@controller_header("packet_out")
header packet_out_t {
    @id(1)
    bit<9> egress_port;
    // 1: the packet takes the way of a packet from a port; 0: it leaves by `egress_port`.
    @id(2)
    bit<1> submit_to_ingress;
    @id(3)
    @padding
    bit<6> unused_pad;
}

struct headers_t {
    packet_in_t packet_in;
    packet_out_t packet_out;
    ethernet_t ethernet;
    ipv4_t ipv4;
    l4_ports_t ports;
}

struct metadata_t {
    bit<1> admitted;
    bit<1> has_group;
    bit<1> has_nexthop;
    bit<16> wcmp_group_id;
    bit<16> nexthop_id;
    bit<16> router_interface_id;
    bit<16> neighbor_id;
    bit<16> l4_src_port;
    bit<16> l4_dst_port;
}

parser packet_parser(packet_in packet, out headers_t hdr, inout metadata_t meta,
                     inout standard_metadata_t standard_metadata) {
    state start {
        transition select(standard_metadata.ingress_port) {
            CPU_PORT: parse_packet_out;
            default: parse_ethernet;
        }
    }
    state parse_packet_out {
        packet.extract(hdr.packet_out);
        transition parse_ethernet;
    }
    state parse_ethernet {
        packet.extract(hdr.ethernet);
        transition select(hdr.ethernet.ether_type) {
            ETHERTYPE_IPV4: parse_ipv4;
            default: accept;
        }
    }
    state parse_ipv4 {
        packet.extract(hdr.ipv4);
        // Options and later fragments have no ports where this program looks for them.
        transition select(hdr.ipv4.ihl, hdr.ipv4.frag_offset, hdr.ipv4.protocol) {
            (5, 0, 6): parse_ports;
            (5, 0, 17): parse_ports;
            default: accept;
        }
    }
    state parse_ports {
        packet.extract(hdr.ports);
        meta.l4_src_port = hdr.ports.src_port;
        meta.l4_dst_port = hdr.ports.dst_port;
        transition accept;
    }
}

control verify_ipv4_checksum(inout headers_t hdr, inout metadata_t meta) {
    apply {
        verify_checksum(hdr.ipv4.isValid() && hdr.ipv4.ihl == 5,
            { hdr.ipv4.version, hdr.ipv4.ihl, hdr.ipv4.diffserv, hdr.ipv4.total_len, hdr.ipv4.identification,
              hdr.ipv4.flags, hdr.ipv4.frag_offset, hdr.ipv4.ttl, hdr.ipv4.protocol, hdr.ipv4.src_addr,
              hdr.ipv4.dst_addr },
            hdr.ipv4.header_checksum, HashAlgorithm.csum16);
    }
}

// Packets for the controller, and packets nobody shall forward.
control acl_ingress_stage(in headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard_metadata) {
    direct_counter(CounterType.packets_and_bytes) acl_ingress_counter;

    action acl_trap() {
        acl_ingress_counter.count();
        standard_metadata.egress_spec = CPU_PORT;
        meta.admitted = 0;
    }
    action acl_drop() {
        acl_ingress_counter.count();
        mark_to_drop(standard_metadata);
        meta.admitted = 0;
    }

    table acl_ingress_table {
        key = {
            hdr.ethernet.ether_type: ternary @name("ether_type");
            hdr.ethernet.dst_addr: ternary @name("dst_mac");
        }
        actions = {
            acl_trap;
            acl_drop;
            @defaultonly NoAction;
        }
        const default_action = NoAction;
        counters = acl_ingress_counter;
        size = 128;
    }

    apply {
        acl_ingress_table.apply();
    }
}

control routing_stage(in headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard_metadata) {
    action drop() {
        mark_to_drop(standard_metadata);
        meta.has_nexthop = 0;
    }
    action set_nexthop_id(bit<16> nexthop_id) {
        meta.nexthop_id = nexthop_id;
        meta.has_nexthop = 1;
    }
    action set_wcmp_group_id(bit<16> wcmp_group_id) {
        meta.wcmp_group_id = wcmp_group_id;
        meta.has_group = 1;
    }

    table ipv4_table {
        key = {
            hdr.ipv4.dst_addr: lpm @name("ipv4_dst");
        }
        actions = {
            drop;
            set_nexthop_id;
            set_wcmp_group_id;
        }
        const default_action = drop;
        size = 32768;
    }

    @max_group_size(256)
    action_selector(HashAlgorithm.crc32, 32w65536, 32w32) wcmp_group_selector;

    @oneshot
    table wcmp_group_table {
        key = {
            meta.wcmp_group_id: exact @name("wcmp_group_id");
            hdr.ipv4.src_addr: selector;
            hdr.ipv4.dst_addr: selector;
            hdr.ipv4.protocol: selector;
            meta.l4_src_port: selector;
            meta.l4_dst_port: selector;
        }
        actions = {
            set_nexthop_id;
        }
        implementation = wcmp_group_selector;
        size = 4096;
    }

    action set_ip_nexthop(bit<16> router_interface_id, bit<16> neighbor_id) {
        meta.router_interface_id = router_interface_id;
        meta.neighbor_id = neighbor_id;
    }

    table nexthop_table {
        key = {
            meta.nexthop_id: exact @name("nexthop_id");
        }
        actions = {
            set_ip_nexthop;
            @defaultonly drop;
        }
        const default_action = drop;
        size = 4096;
    }

    apply {
        ipv4_table.apply();
        if (meta.has_group == 1) {
            wcmp_group_table.apply();
        }
        if (meta.has_nexthop == 1) {
            nexthop_table.apply();
        }
    }
}

control resolution_stage(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard_metadata) {
    action drop() {
        mark_to_drop(standard_metadata);
    }
    action set_dst_mac(bit<48> dst_mac) {
        hdr.ethernet.dst_addr = dst_mac;
    }
    action set_port_and_src_mac(bit<9> port, bit<48> src_mac) {
        standard_metadata.egress_spec = port;
        hdr.ethernet.src_addr = src_mac;
    }

    table neighbor_table {
        key = {
            meta.router_interface_id: exact @name("router_interface_id");
            meta.neighbor_id: exact @name("neighbor_id");
        }
        actions = {
            set_dst_mac;
            @defaultonly drop;
        }
        const default_action = drop;
        size = 4096;
    }

    table router_interface_table {
        key = {
            meta.router_interface_id: exact @name("router_interface_id");
        }
        actions = {
            set_port_and_src_mac;
            @defaultonly drop;
        }
        const default_action = drop;
        size = 512;
    }

    apply {
        if (neighbor_table.apply().hit) {
            router_interface_table.apply();
        }
    }
}

control ingress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard_metadata) {
    acl_ingress_stage() acl_ingress;
    routing_stage() routing;
    resolution_stage() resolution;

    action admit_to_l3() {
        meta.admitted = 1;
    }

    table l3_admit_table {
        key = {
            hdr.ethernet.dst_addr: ternary @name("dst_mac");
        }
        actions = {
            admit_to_l3;
            @defaultonly NoAction;
        }
        const default_action = NoAction;
        size = 128;
    }

    apply {
        if (hdr.packet_out.isValid() && hdr.packet_out.submit_to_ingress == 0) {
            standard_metadata.egress_spec = hdr.packet_out.egress_port;
            hdr.packet_out.setInvalid();
        } else {
            hdr.packet_out.setInvalid();
            // What nobody admits goes nowhere.
            mark_to_drop(standard_metadata);
            l3_admit_table.apply();
            acl_ingress.apply(hdr, meta, standard_metadata);
            if (meta.admitted == 1 && hdr.ipv4.isValid() && standard_metadata.checksum_error == 0 &&
                hdr.ipv4.ihl == 5 && hdr.ipv4.ttl > 1) {
                routing.apply(hdr, meta, standard_metadata);
                if (meta.has_nexthop == 1) {
                    resolution.apply(hdr, meta, standard_metadata);
                    hdr.ipv4.ttl = hdr.ipv4.ttl - 1;
                }
            }
        }
    }
}

control egress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard_metadata) {
    apply {
        if (standard_metadata.egress_port == CPU_PORT) {
            hdr.packet_in.setValid();
            hdr.packet_in.ingress_port = standard_metadata.ingress_port;
            hdr.packet_in.target_egress_port = 0;
            hdr.packet_in.unused_pad = 0;
        }
    }
}

control compute_ipv4_checksum(inout headers_t hdr, inout metadata_t meta) {
    apply {
        update_checksum(hdr.ipv4.isValid() && hdr.ipv4.ihl == 5,
            { hdr.ipv4.version, hdr.ipv4.ihl, hdr.ipv4.diffserv, hdr.ipv4.total_len, hdr.ipv4.identification,
              hdr.ipv4.flags, hdr.ipv4.frag_offset, hdr.ipv4.ttl, hdr.ipv4.protocol, hdr.ipv4.src_addr,
              hdr.ipv4.dst_addr },
            hdr.ipv4.header_checksum, HashAlgorithm.csum16);
    }
}

control packet_deparser(packet_out packet, in headers_t hdr) {
    apply {
        packet.emit(hdr.packet_in);
        packet.emit(hdr.ethernet);
        packet.emit(hdr.ipv4);
        packet.emit(hdr.ports);
    }
}

V1Switch(packet_parser(), verify_ipv4_checksum(), ingress(), egress(), compute_ipv4_checksum(), packet_deparser()) main;
