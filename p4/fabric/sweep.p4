// Sweeps: packets of the controller that go round and look at 32 slots each time, or at fewer if there is something to
// mirror: one record leaves in each pass. Included into the ingress control.
//
// The clock of the first pass is the ingress timestamp; a recirculated packet has none and carries the egress timestamp
// of the pass before. A slot can therefore be younger than "now": ages of half the range or more are negative.

@hidden
action begin_pass() {
    bit<48> clock = standard.ingress_global_timestamp;
    if (standard.instance_type == INSTANCE_RECIRCULATED) {
        clock = meta.clock;
    }
    meta.now = MILLISECONDS(clock);
    // From the start of the region, which `owners` adds.
    meta.slot = hdr.sweep.next;
    meta.owner = hdr.sweep.owner;
    // For pins; the table `owners` says it for connections.
    if (hdr.sweep.kind == SWEEP_PINS) {
        meta.held = 1;
        meta.mask = SLOTS - 1;
        meta.idle_ms = PIN_IDLE_MS;
        meta.closing_ms = PIN_CLOSING_MS;
    }
    hdr.packet_out.setInvalid();
    standard.egress_spec = CPU_PORT;
}

// One slot that is held, by the kind of the sweep.
#define SWEEP_HELD \
    states.read(state, meta.slot); \
    age = meta.now - state[55:24]; \
    if (state[1:1] == 1) { \
        age_max = meta.closing_ms; \
    } else if (state[0:0] == 1) { \
        age_max = meta.idle_ms; \
        if (state[2:2] == 1) { \
            age_max = age_max + COPY_SLACK_MS; \
        } \
    } else { \
        age = meta.now - state[87:56]; \
        age_max = meta.half_open_ms; \
    } \
    if (age > age_max && age < 0x80000000) { \
        if (hdr.sweep.kind <= SWEEP_PINS) { \
            keys.write(meta.slot, 0); \
            if (state[2:2] == 0) { \
                freed = freed + 1; \
                hdr.sweep.freed_ms = hdr.sweep.freed_ms + (state[55:24] - state[87:56]); \
                if (state[1:0] == 1 && meta.session != 0 && hdr.sweep.freed + freed <= SWEEP_ENDS_MAX) { \
                    meta.change = CHANGE_ENDED; \
                } \
            } \
        } \
    } else if (hdr.sweep.kind <= SWEEP_PINS) { \
        if (state[2:2] == 1) { \
            hdr.sweep.copies = hdr.sweep.copies + 1; \
        } else { \
            hdr.sweep.live = hdr.sweep.live + 1; \
            hdr.sweep.closing = hdr.sweep.closing + (bit<32>)state[1:1]; \
            if (state[1:0] == 0) { \
                hdr.sweep.half_open = hdr.sweep.half_open + 1; \
            } \
        } \
    } else if (hdr.sweep.kind == SWEEP_EMIT) { \
        meta.change = CHANGE_EMITTED; \
    } else if (hdr.sweep.kind == SWEEP_DIGEST) { \
        hdr.sweep.copies = hdr.sweep.copies + (bit<32>)state[2:2]; \
        hdr.sweep.doubted = hdr.sweep.doubted + (bit<32>)state[3:3]; \
        opened = meta.now - state[87:56]; \
        if (opened >= settle && opened < 0x80000000 && (state[1:1] == 0 || age < settle)) { \
            hash(mixed, HashAlgorithm.crc32, 32w0, { key }, 64w0x100000000); \
            wide = (bit<64>)(mixed + (bit<32>)state[0:0]) * 0x9e3779b97f4a7c15; \
            hdr.sweep.count = hdr.sweep.count + 1; \
            hdr.sweep.digest = hdr.sweep.digest + (wide ^ (wide >> 29)); \
        } \
    } else if (hdr.sweep.kind == SWEEP_DOUBT) { \
        if (state[2:2] == 1 || hdr.sweep.session != 0) { \
            if (state[2:2] == 0) { \
                freed = freed + 1; \
            } \
            states.write(meta.slot, state | 12); \
            hdr.sweep.doubted = hdr.sweep.doubted + 1; \
        } \
    } else if (state[3:3] == 1) { \
        keys.write(meta.slot, 0); \
        hdr.sweep.doubted = hdr.sweep.doubted + 1; \
    }

#define SWEEP_SLOT \
    if (meta.change == CHANGE_NONE && hdr.sweep.next < end) { \
        keys.read(key, meta.slot); \
        if (key != 0) { \
            SWEEP_HELD \
        } \
        meta.slot = meta.slot + 1; \
        hdr.sweep.next = hdr.sweep.next + 1; \
    }

#define SWEEP_4_SLOTS SWEEP_SLOT SWEEP_SLOT SWEEP_SLOT SWEEP_SLOT

// One pass, or none where there is nothing to look at: an owner without a region, an empty range.
@hidden
action pass() {
    tuple_t key;
    slot_t state;
    time_ms_t age;
    time_ms_t age_max;
    time_ms_t opened;
    bit<32> mixed;
    bit<64> wide;
    bit<32> freed = 0;
    bit<32> end = 0;
    time_ms_t settle = (bit<32>)hdr.sweep.settle_ms;
    if (meta.held == 1) {
        end = meta.mask + 1;
        if (hdr.sweep.end < end) {
            end = hdr.sweep.end;
        }
    }
    SWEEP_4_SLOTS
    SWEEP_4_SLOTS
    SWEEP_4_SLOTS
    SWEEP_4_SLOTS
    SWEEP_4_SLOTS
    SWEEP_4_SLOTS
    SWEEP_4_SLOTS
    SWEEP_4_SLOTS
    if (meta.held == 1) {
        hdr.sweep.freed = hdr.sweep.freed + freed;
        occupied.read(hdr.sweep.occupied, meta.region >> 6);
        hdr.sweep.occupied = hdr.sweep.occupied - freed;
        occupied.write(meta.region >> 6, hdr.sweep.occupied);
    }
    if (hdr.sweep.next >= end) {
        hdr.sweep.next = hdr.sweep.end;
    }
    if (hdr.sweep.kind == SWEEP_EMIT) {
        meta.session = hdr.sweep.session;
    }
    if (meta.change != CHANGE_NONE) {
        meta.slot = meta.slot - 1;
        meta.flow = key;
        meta.opened = state[87:56];
        meta.established = state[0:0];
        meta.closing = state[1:1];
        meta.copied = state[2:2];
        meta.silent_ms = meta.now - state[55:24];
        if (meta.silent_ms >= 0x80000000) {
            meta.silent_ms = 0;
        }
    }
}
