// What a frame takes with it.

control Leave(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard) {
    counter(512, CounterType.packets_and_bytes) port_out;

    @hidden
    action count_out() {
        port_out.count((bit<32>)standard.egress_port);
    }

    @hidden
    action again() {
        meta.clock = standard.egress_global_timestamp;
        recirculate_preserving_field_list(LIST_SWEEP);
    }

    @hidden
    action report() {
        hdr.packet_in.setValid();
        hdr.packet_in.ingress_port = 0;
        hdr.packet_in.reason = REASON_SWEEP;
    }

    @hidden
    action to_controller() {
        hdr.packet_in.setValid();
        hdr.packet_in.ingress_port = meta.from;
        hdr.packet_in.reason = REASON_FRAME;
    }

    // A clone comes as the frame came in, parsed anew, and that of a sweep as anything; only what is preserved of its
    // metadata tells what happened. The record is all that leaves.
    @hidden
    action record() {
        hdr.ethernet.setValid();
        hdr.ethernet.dst = 0xffffffffffff;
        hdr.ethernet.src = NODE_PREFIX ++ meta.owner;
        hdr.ethernet.type = TYPE_RECORD;
        hdr.record.setValid();
        hdr.record.first = RECORD_FIRST;
        hdr.record.event = meta.change;
        hdr.record.owner = meta.owner;
        hdr.record.sequence = meta.sequence;
        hdr.record.slot = meta.slot;
        hdr.record.age_ms = meta.age_ms;
        hdr.record.silent_ms = meta.silent_ms;
        hdr.record.flow = meta.flow;
        hdr.record.flags = 5w0 ++ meta.copied ++ meta.closing ++ meta.established;
        hdr.packet_out.setInvalid();
        hdr.sweep.setInvalid();
        hdr.arp.setInvalid();
        hdr.ipv4.setInvalid();
        hdr.ports.setInvalid();
        hdr.tcp.setInvalid();
        hdr.echo.setInvalid();
        // Ethernet and the record.
        truncate(48);
    }

    apply {
        if (standard.instance_type == INSTANCE_INGRESS_CLONE && meta.copy == COPY_RECORD) {
            record();
        } else if (standard.egress_port == CPU_PORT) {
            if (!hdr.sweep.isValid()) {
                to_controller();
            } else if (hdr.sweep.next == hdr.sweep.end) {
                report();
            } else {
                again();
            }
        }
        count_out();
    }
}
