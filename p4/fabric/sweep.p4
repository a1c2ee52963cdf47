// Sweeps: packets of the controller that go round and look at SWEEP_SLOTS slots each time. Included into the ingress
// control.
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
    hdr.sweep.next = hdr.sweep.next & SWEEP_START;
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

#define SWEEP_SLOT \
    keys.read(key, meta.slot); \
    if (key != 0) { \
        states.read(state, meta.slot); \
        if (state[1:1] == 1) { \
            age = meta.now - state[55:24]; \
            age_max = meta.closing_ms; \
        } else if (state[0:0] == 1) { \
            age = meta.now - state[55:24]; \
            age_max = meta.idle_ms; \
        } else { \
            age = meta.now - state[87:56]; \
            age_max = meta.half_open_ms; \
        } \
        if (age > age_max && age < 0x80000000) { \
            keys.write(meta.slot, 0); \
            freed = freed + 1; \
            hdr.sweep.freed_ms = hdr.sweep.freed_ms + (state[55:24] - state[87:56]); \
        } else { \
            hdr.sweep.live = hdr.sweep.live + 1; \
            hdr.sweep.closing = hdr.sweep.closing + (bit<32>)state[1:1]; \
            if (state[1:0] == 0) { \
                hdr.sweep.half_open = hdr.sweep.half_open + 1; \
            } \
        } \
    } \
    meta.slot = meta.slot + 1;

#define SWEEP_4_SLOTS SWEEP_SLOT SWEEP_SLOT SWEEP_SLOT SWEEP_SLOT

// One pass, or none where there is nothing to look at: an owner without a region, an empty range.
@hidden
action pass() {
    tuple_t key;
    slot_t state;
    time_ms_t age;
    time_ms_t age_max;
    bit<32> freed = 0;
    if (meta.held == 1 && hdr.sweep.next < hdr.sweep.end && hdr.sweep.next <= meta.mask) {
        SWEEP_4_SLOTS
        SWEEP_4_SLOTS
        SWEEP_4_SLOTS
        SWEEP_4_SLOTS
        SWEEP_4_SLOTS
        SWEEP_4_SLOTS
        SWEEP_4_SLOTS
        SWEEP_4_SLOTS
        hdr.sweep.freed = hdr.sweep.freed + freed;
        hdr.sweep.next = hdr.sweep.next + SWEEP_SLOTS;
    }
    if (meta.held == 1) {
        occupied.read(hdr.sweep.occupied, meta.region >> 6);
        hdr.sweep.occupied = hdr.sweep.occupied - freed;
        occupied.write(meta.region >> 6, hdr.sweep.occupied);
    }
    if (meta.held == 0 || hdr.sweep.next > hdr.sweep.end || hdr.sweep.next > meta.mask) {
        hdr.sweep.next = hdr.sweep.end;
    }
}
