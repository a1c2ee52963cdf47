// Two-choice, 4-way set-associative slots in registers: the pins of a third-stage or outside switch, the connections
// of a router. Included into the ingress control.
//
// Invariants: a tuple is in one of its two sets or nowhere; a slot whose key is 0 is free, whatever its state says;
// `occupied` of a region is the number of its keys that are not 0 and no copies. What reads a register and writes it is
// one action.

register<tuple_t>(SLOTS) keys;
register<slot_t>(SLOTS) states;
// By the first slot of a region divided by 64, the smallest size of a region.
register<bit<32>>(SLOTS / 64) occupied;
// Refused connections, two cells a hash: the hash that was seen (32) and when (32).
register<bit<64>>(REFUSALS) refusals;
// Number of records that were mirrored, by region as above.
register<bit<32>>(SLOTS / 64) sequences;

counter(EVENTS, CounterType.packets) events;

// The time, and where the connection would be.
@hidden
action locate() {
    hash(meta.hash, HashAlgorithm.crc32, 32w0, { meta.flow }, 64w0x100000000);
    bit<32> mixed = (meta.hash ^ (meta.index ++ meta.index)) * 0x7feb352d;
    meta.spread = (((mixed ^ (mixed >> 15)) * 0x846ca68b) >> 16) + 2;
    // The middle bits of a product with an odd constant depend on most bits of the hash.
    meta.set1 = ((meta.hash * 0x9e3779b1) >> 10) & (SLOTS - 4);
    meta.set2 = ((meta.hash * 0x85ebca77) >> 10) & (SLOTS - 4);
    meta.now = MILLISECONDS(standard.ingress_global_timestamp);
}

// Finds the tuple in one of its two sets: `hit`, and then its slot and what is known of it.
@hidden
action look_up() {
    tuple_t key;
    meta.slot = meta.set1;
    keys.read(key, meta.slot);
    if (key != meta.flow) {
        meta.slot = meta.slot + 1;
        keys.read(key, meta.slot);
    }
    if (key != meta.flow) {
        meta.slot = meta.slot + 1;
        keys.read(key, meta.slot);
    }
    if (key != meta.flow) {
        meta.slot = meta.slot + 1;
        keys.read(key, meta.slot);
    }
    if (key != meta.flow) {
        meta.slot = meta.set2;
        keys.read(key, meta.slot);
        if (key != meta.flow) {
            meta.slot = meta.slot + 1;
            keys.read(key, meta.slot);
        }
        if (key != meta.flow) {
            meta.slot = meta.slot + 1;
            keys.read(key, meta.slot);
        }
        if (key != meta.flow) {
            meta.slot = meta.slot + 1;
            keys.read(key, meta.slot);
        }
    }
    if (key == meta.flow) {
        slot_t state;
        states.read(state, meta.slot);
        meta.hit = 1;
        meta.opened = state[87:56];
        meta.last = state[55:24];
        meta.pinned = state[23:8];
        meta.established = state[0:0];
        meta.closing = state[1:1];
        meta.copied = state[2:2];
        // A new connection on the addresses and ports of one that is closing.
        meta.renewed = meta.opens & meta.closing;
    }
}

// A packet of a known connection. The first packet from the client without SYN establishes it; pins are from the start.
// Whose packets come by here is carried here, and is no copy any more.
@hidden
action touch() {
    if (meta.copied == 1 || (meta.last ^ meta.now) >> TOUCH_BITS != 0) {
        meta.change = CHANGE_TOUCHED;
    }
    if (meta.copied == 1) {
        meta.copied = 0;
        occupied.read(meta.occupied, meta.region >> 6);
        occupied.write(meta.region >> 6, meta.occupied + 1);
    }
    if (meta.renewed == 1) {
        meta.opened = meta.now;
        meta.closing = 0;
        if (meta.role == ROLE_ROUTER) {
            meta.established = 0;
        }
        meta.change = CHANGE_OPENED;
    } else if (meta.ends == 1) {
        if (meta.closing == 0) {
            meta.change = CHANGE_CLOSING;
        }
        meta.closing = 1;
    } else if (meta.established == 0 && meta.from_client == 1 && meta.tcp_flags[1:1] == 0) {
        meta.established = 1;
        meta.change = CHANGE_ESTABLISHED;
    }
    states.write(meta.slot, meta.opened ++ meta.now ++ meta.router ++ 6w0 ++ meta.closing ++ meta.established);
}

#define COUNT_FREE(COUNT, FREE, AT) \
    keys.read(key, AT); \
    if (key == 0) { \
        COUNT = COUNT + 1; \
        FREE = AT; \
    }

// A free slot in the emptier of the two sets, if there is any. The last one read is the first one taken, so that
// look-ups find it at once.
@hidden
action find_room() {
    tuple_t key;
    bit<8> count1 = 0;
    bit<8> count2 = 0;
    bit<32> free1 = 0;
    bit<32> free2 = 0;
    COUNT_FREE(count1, free1, meta.set1 + 3)
    COUNT_FREE(count1, free1, meta.set1 + 2)
    COUNT_FREE(count1, free1, meta.set1 + 1)
    COUNT_FREE(count1, free1, meta.set1)
    COUNT_FREE(count2, free2, meta.set2 + 3)
    COUNT_FREE(count2, free2, meta.set2 + 2)
    COUNT_FREE(count2, free2, meta.set2 + 1)
    COUNT_FREE(count2, free2, meta.set2)
    meta.slot = free1;
    if (count2 > count1) {
        meta.slot = free2;
    }
    if (count1 == 0 && count2 == 0) {
        meta.full = 1;
    }
    occupied.read(meta.occupied, meta.region >> 6);
}

#define ADD_PLACE(PLACE) \
    if (meta.places[PLACE:PLACE] == 1) { \
        occupied.read(carried, (meta.parts + PLACE * meta.part) >> 6); \
        meta.capacity = meta.capacity - carried; \
    }

// What a router may still carry: everything that it carries counts, whosever it is. Its own region is the first.
@hidden
action find_capacity() {
    bit<32> carried;
    occupied.read(carried, 0);
    meta.capacity = meta.capacity - carried;
    ADD_PLACE(0)
    ADD_PLACE(1)
    ADD_PLACE(2)
    ADD_PLACE(3)
    ADD_PLACE(4)
    ADD_PLACE(5)
    ADD_PLACE(6)
    ADD_PLACE(7)
}

// Takes the slot for the tuple. What has no handshake is established at once; so is a pin.
@hidden
action enter() {
    meta.opened = meta.now;
    meta.closing = meta.ends;
    meta.established = meta.starts;
    if (meta.role != ROLE_ROUTER) {
        meta.established = 1;
    }
    keys.write(meta.slot, meta.flow);
    states.write(meta.slot, meta.now ++ meta.now ++ meta.router ++ 6w0 ++ meta.closing ++ meta.established);
    occupied.write(meta.region >> 6, meta.occupied + 1);
    meta.change = CHANGE_OPENED;
}

#define STALER(AT) \
    states.read(state, AT); \
    idle = meta.now - state[55:24]; \
    if (state[1:1] == 1) { \
        idle = idle + PIN_IDLE_MS; \
    } \
    if (idle > idle_max) { \
        idle_max = idle; \
        meta.slot = AT; \
    }

// A pin, where it has room or in place of the stalest way of the first set; one that is closing, or idle for longer
// than a sweep would leave it, is no loss.
@hidden
action take() {
    find_room();
    if (meta.full == 1) {
        slot_t state;
        bit<32> idle;
        bit<32> idle_max = 0;
        meta.slot = meta.set1;
        STALER(meta.set1)
        STALER(meta.set1 + 1)
        STALER(meta.set1 + 2)
        STALER(meta.set1 + 3)
        if (idle_max < PIN_IDLE_MS) {
            events.count(EVENT_EVICTED);
        }
        meta.occupied = meta.occupied - 1;
    }
    enter();
}
