// Everything that decides. All state is read and written here.

// A timestamp in microseconds (48 bits) as milliseconds modulo 2^32.
#define MILLISECONDS(CLOCK) (bit<32>)(((bit<80>)CLOCK * 4294968) >> 32)

control Forward(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard) {
#include "tables.p4"
#include "slots.p4"
#include "sweep.p4"
#include "copies.p4"

    @hidden
    action send_out() {
        standard.egress_spec = hdr.packet_out.egress_port;
        hdr.packet_out.setInvalid();
    }

    // What the packet is to this switch: its connection, where it comes from, whether it is let in.
    @hidden
    action identify() {
        if (meta.kind == KIND_INSIDE || meta.kind == KIND_EDGE && meta.role == ROLE_ACCESS
            || meta.kind == KIND_LINK && meta.role == ROLE_OUTSIDE) {
            meta.from_client = 1;
            meta.flow = hdr.ipv4.src ++ hdr.ipv4.dst ++ meta.src_port ++ meta.dst_port ++ hdr.ipv4.protocol;
            if (meta.starts == 1 || (meta.tcp_flags & 0x17) == 2) {
                meta.opens = 1;
            }
        } else {
            meta.flow = hdr.ipv4.dst ++ hdr.ipv4.src ++ meta.dst_port ++ meta.src_port ++ hdr.ipv4.protocol;
        }
        if ((meta.tcp_flags & 5) != 0) {
            meta.ends = 1;
        }
        locate();
        meta.owner = hdr.ethernet.dst[15:0];
        meta.sender = NODE_PREFIX ++ meta.index;
        if (meta.kind == KIND_EDGE) {
            if (meta.role == ROLE_ACCESS || meta.role == ROLE_OUTSIDE) {
                meta.welcome = 1;
            }
        } else if (hdr.ethernet.dst[47:16] == NODE_PREFIX) {
            if (meta.role == ROLE_ROUTER) {
                meta.sender = hdr.ethernet.dst;
                if ((meta.kind == KIND_INSIDE || meta.kind == KIND_OUTSIDE) && hdr.ipv4.ttl > 1) {
                    meta.welcome = 1;
                }
            } else if (meta.kind == KIND_LINK && (meta.role == ROLE_TRANSIT || meta.owner == meta.index)) {
                meta.welcome = 1;
                // What comes from a router says whose connection it is.
                if (meta.role == ROLE_OUTSIDE && hdr.ethernet.src[47:16] == NODE_PREFIX) {
                    meta.told = 1;
                    meta.router = hdr.ethernet.src[15:0];
                }
            }
        }
    }

    // First stage: lets the packet of a known connection through, admits or refuses a new one.
    @hidden
    action connection() {
        look_up();
        if (meta.hit == 1) {
            touch();
        } else if (meta.opens == 1) {
            find_room();
            find_capacity();
            // What is carried for others was let in by nobody, so that it may be more than the capacity.
            if (meta.full == 0 && meta.capacity != 0 && meta.capacity < 0x80000000) {
                meta.hit = 1;
                enter();
            } else {
                // A retransmitted opening packet is no further connection. Of two cells the older one makes room.
                bit<64> cell;
                bit<64> other;
                bit<32> at = ((meta.hash * 0xc2b2ae3d) >> 16) & (REFUSALS - 2);
                refusals.read(cell, at);
                refusals.read(other, at + 1);
                if (other[63:32] == meta.hash
                    || cell[63:32] != meta.hash && meta.now - other[31:0] > meta.now - cell[31:0]) {
                    cell = other;
                    at = at + 1;
                }
                if (cell[63:32] != meta.hash || meta.now - cell[31:0] >= REFUSED_MS) {
                    events.count(EVENT_REFUSED);
                    if (meta.full == 1) {
                        events.count(EVENT_NO_ROOM);
                    }
                }
                refusals.write(at, meta.hash ++ meta.now);
            }
        } else {
            events.count(EVENT_UNKNOWN);
        }
        if (meta.change == CHANGE_OPENED) {
            events.count(EVENT_ADMITTED);
        }
        if (meta.hit == 1) {
            // The TTL changes by one: its checksum by 0x0100 in one's complement.
            hdr.ipv4.ttl = hdr.ipv4.ttl - 1;
            bit<32> sum = (bit<32>)hdr.ipv4.checksum + 0x100;
            hdr.ipv4.checksum = (sum + (sum >> 16))[15:0];
            if (meta.way == WAY_NODE) {
                meta.go = 1;
            }
        }
    }

    // Changes are numbered for all shadows of the owner together, what a sweep emits for one, from 1.
    @hidden
    action mirror_change() {
        if (meta.change == CHANGE_EMITTED) {
            hdr.sweep.sent = hdr.sweep.sent + 1;
            meta.sequence = hdr.sweep.sent;
        } else {
            sequences.read(meta.sequence, meta.region >> 6);
            meta.sequence = meta.sequence + 1;
            sequences.write(meta.region >> 6, meta.sequence);
        }
        meta.slot = meta.slot - meta.region;
        meta.age_ms = meta.now - meta.opened;
        // The clock of a sweep may be behind.
        if (meta.age_ms >= 0x80000000) {
            meta.age_ms = 0;
        }
        meta.copy = COPY_RECORD;
        events.count(EVENT_MIRRORED);
        clone_preserving_field_list(CloneType.I2E, (bit<32>)meta.session, LIST_RECORD);
    }

    // Third stage and outside. A packet from a router brings the pin, every other one asks for it; a connection to a
    // service that is new chooses afterwards.
    @hidden
    action pin_of() {
        look_up();
        if (meta.way == WAY_SERVICE) {
            if (meta.hit == 1 && meta.renewed == 0) {
                meta.router = meta.pinned;
                meta.go = 1;
                touch();
            } else {
                meta.chooses = 1;
            }
        } else {
            if (meta.told == 0) {
                meta.router = meta.pinned;
            }
            if (meta.hit == 1) {
                touch();
                if (meta.kind == KIND_EDGE) {
                    meta.go = 1;
                }
            } else if (meta.told == 1 && meta.has_ports == 1) {
                take();
                events.count(EVENT_PINNED);
            }
        }
    }

    @hidden
    action pin() {
        if (meta.hit == 1) {
            touch();
        } else {
            take();
        }
        events.count(EVENT_PINNED);
    }

    // One further in the group, or one back.
    @hidden
    action turn() {
        if (meta.hash[0:0] == 1) {
            meta.spread = meta.spread + 1;
        } else {
            meta.spread = meta.spread - 1;
        }
    }

    @hidden
    action to_controller() {
        standard.egress_spec = CPU_PORT;
    }

    // Whoever stands in must know for whom: the source says it.
    @hidden
    action name_owner() {
        hdr.ethernet.src = NODE_PREFIX ++ meta.router;
    }

    // Somebody asks this router whether it lives.
    @hidden
    action send_back() {
        standard.egress_spec = standard.ingress_port;
    }

    @hidden
    action to_destination() {
        meta.node = meta.owner;
        meta.go = 1;
    }

    apply {
        if (hdr.sweep.isValid()) {
            begin_pass();
        } else if (hdr.packet_out.isValid()) {
            send_out();
        } else {
            ports.apply();
            self.apply();
            if (hdr.ipv4.isValid()) {
                identify();
                if (meta.role == ROLE_ROUTER && meta.owner == meta.index && hdr.ethernet.src[47:16] == NODE_PREFIX) {
                    stands_in.apply();
                }
                if (meta.welcome == 1 && meta.role != ROLE_TRANSIT) {
                    routes.apply();
                }
            }
        }
        if (hdr.record.isValid() && meta.kind == KIND_MIRROR) {
            arrive();
            replicas.apply();
        }
        if (meta.role == ROLE_ROUTER && (meta.welcome == 1 || meta.trusted == 1)
            || hdr.sweep.isValid() && hdr.sweep.kind != SWEEP_PINS) {
            owners.apply();
        }

        if (meta.welcome == 1) {
            if (meta.role == ROLE_TRANSIT) {
                to_destination();
            } else if (meta.role == ROLE_ROUTER) {
                if (meta.held == 1) {
                    connection();
                    if (meta.hit == 1 && meta.way == WAY_SET) {
                        sets.apply();
                    }
                }
            } else if (meta.kind == KIND_LINK) {
                if (meta.way == WAY_DELIVER) {
                    pin_of();
                }
            } else if (meta.way == WAY_SERVICE || meta.way == WAY_NONE && meta.role == ROLE_OUTSIDE) {
                pin_of();
                if (meta.chooses == 1) {
                    choice.apply();
                    if (meta.go == 1 && meta.has_ports == 1) {
                        chosen.apply();
                        pin();
                    }
                }
                if (meta.go == 1) {
                    meta.go = 0;
                    indirection.apply();
                    if (meta.go == 1 && meta.node != meta.router) {
                        name_owner();
                    }
                }
            } else if (meta.way == WAY_NODE) {
                meta.go = 1;
            }
            if (meta.go == 1) {
                next_hops.apply();
                if (meta.sent == 0) {
                    turn();
                    next_hops_again.apply();
                    if (meta.sent == 0) {
                        fallbacks.apply();
                        if (meta.sent == 0) {
                            turn();
                            fallbacks_again.apply();
                            if (meta.sent == 0) {
                                last_resorts.apply();
                            }
                        }
                    }
                }
            }
        } else if (hdr.sweep.isValid()) {
            pass();
        } else if (hdr.arp.isValid() && meta.kind == KIND_EDGE) {
            to_controller();
            if (hdr.arp.operation == 1 && hdr.arp.kinds == 0x000108000604) {
                gateways.apply();
            }
        } else if (hdr.ethernet.isValid() && hdr.ethernet.type == TYPE_LLDP) {
            if (meta.role == ROLE_ROUTER && hdr.ethernet.dst == NODE_PREFIX ++ meta.index) {
                send_back();
            } else {
                to_controller();
            }
        } else if (hdr.ethernet.isValid() && hdr.ethernet.type == TYPE_RECORD) {
            if (meta.trusted == 1 && meta.held == 1) {
                follow();
            } else {
                distrust();
            }
        }
        if (meta.session != 0 && meta.change != CHANGE_NONE) {
            mirror_change();
        }
    }
}
