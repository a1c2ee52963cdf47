// Bytes to headers and back.

parser Decode(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard) {
    state start {
        // A recirculated packet has lost its ingress port. Only sweeps are recirculated.
        transition select(standard.instance_type) {
            INSTANCE_RECIRCULATED: sweep;
            default: origin;
        }
    }
    state origin {
        transition select(standard.ingress_port) {
            CPU_PORT: from_controller;
            default: ethernet;
        }
    }
    state from_controller {
        packet.extract(hdr.packet_out);
        transition select(hdr.packet_out.purpose) {
            PURPOSE_SWEEP: sweep;
            default: accept;
        }
    }
    state sweep {
        packet.extract(hdr.sweep);
        transition accept;
    }
    state ethernet {
        packet.extract(hdr.ethernet);
        transition select(hdr.ethernet.type) {
            TYPE_IPV4: ipv4;
            TYPE_ARP: arp;
            TYPE_RECORD: record;
            default: accept;
        }
    }
    state record {
        packet.extract(hdr.record);
        transition accept;
    }
    state arp {
        packet.extract(hdr.arp);
        transition accept;
    }
    state ipv4 {
        packet.extract(hdr.ipv4);
        // Fragments but the first have no ports; neither has, for this program, what comes with options.
        transition select(hdr.ipv4.words, hdr.ipv4.fragment, hdr.ipv4.protocol) {
            (5, 0, 6): tcp;
            (5, 0, 17): udp;
            (5, 0, 1): icmp;
            default: accept;
        }
    }
    state tcp {
        packet.extract(hdr.ports);
        packet.extract(hdr.tcp);
        meta.has_ports = 1;
        meta.src_port = hdr.ports.src;
        meta.dst_port = hdr.ports.dst;
        meta.tcp_flags = hdr.tcp.flags;
        transition accept;
    }
    state udp {
        packet.extract(hdr.ports);
        meta.has_ports = 1;
        meta.starts = 1;
        meta.src_port = hdr.ports.src;
        meta.dst_port = hdr.ports.dst;
        transition accept;
    }
    state icmp {
        packet.extract(hdr.echo);
        meta.src_port = hdr.echo.id;
        meta.dst_port = hdr.echo.id;
        transition select(hdr.echo.type) {
            8: echo_request;
            0: echo_reply;
            default: other_icmp;
        }
    }
    state echo_request {
        meta.starts = 1;
        meta.has_ports = 1;
        transition accept;
    }
    state echo_reply {
        meta.has_ports = 1;
        transition accept;
    }
    // Errors and the rest: what stands there is no identifier.
    state other_icmp {
        meta.src_port = 0;
        meta.dst_port = 0;
        transition accept;
    }
}

control Encode(packet_out packet, in headers_t hdr) {
    apply {
        packet.emit(hdr.packet_in);
        packet.emit(hdr.sweep);
        packet.emit(hdr.ethernet);
        packet.emit(hdr.record);
        packet.emit(hdr.arp);
        packet.emit(hdr.ipv4);
        packet.emit(hdr.ports);
        packet.emit(hdr.tcp);
        packet.emit(hdr.echo);
    }
}
