// Copies of what other routers carry, as records tell of them. Included into the ingress control.

// By stream and twice: the number of the last change, and of the last record that a sweep emitted.
register<bit<32>>(STREAMS) heard;

@hidden
action arrive() {
    meta.owner = hdr.record.owner;
    meta.flow = hdr.record.flow;
    meta.established = hdr.record.flags[0:0];
    meta.closing = hdr.record.flags[1:1];
    locate();
}

// Not from where records of this owner come, or no record at all.
@hidden
action distrust() {
    events.count(EVENT_FORGED);
}

// A record that may come. It is taken unless it is out of its turn, its connection is over, or this switch carries the
// connection and saw a later packet, or the other has but a copy itself.
@hidden
action follow() {
    bit<32> emitted = 0;
    bit<32> number;
    bit<1> taken = 1;
    bit<1> over = 0;
    if (hdr.record.event == CHANGE_EMITTED) {
        emitted = 1;
    }
    heard.read(number, (meta.stream << 1) + emitted);
    bit<32> step = hdr.record.sequence - number;
    if (hdr.record.first != RECORD_FIRST || hdr.record.event == CHANGE_NONE || hdr.record.event > CHANGE_EMITTED
        || hdr.record.flow == 0) {
        taken = 0;
        events.count(EVENT_FORGED);
    } else if (hdr.record.sequence == 1) {
        // A switch, or a sweep, that began anew.
    } else if (step == 0 || step >= 0x80000000) {
        if (emitted == 0) {
            taken = 0;
            events.count(EVENT_REPEATED);
        } else {
            events.count(EVENT_GAPS);
        }
    } else if (step != 1 && (number != 0 || emitted == 1)) {
        events.count(EVENT_GAPS);
    }
    if (taken == 1) {
        heard.write((meta.stream << 1) + emitted, hdr.record.sequence);
        time_ms_t age = hdr.record.silent_ms;
        time_ms_t age_max = meta.half_open_ms;
        bit<1> established = meta.established;
        bit<1> closing = meta.closing;
        if (closing == 1) {
            age_max = meta.closing_ms;
        } else if (established == 1) {
            age_max = meta.idle_ms;
        } else {
            age = hdr.record.age_ms;
        }
        if (age > age_max || hdr.record.event == CHANGE_ENDED) {
            over = 1;
        }
        time_ms_t opened = meta.now - hdr.record.age_ms;
        time_ms_t last = meta.now - hdr.record.silent_ms;
        look_up();
        if (meta.hit == 0) {
            if (over == 1) {
                taken = 0;
                events.count(EVENT_LATE);
            } else {
                find_room();
                if (meta.full == 1) {
                    taken = 0;
                    events.count(EVENT_NO_COPY);
                } else {
                    keys.write(meta.slot, meta.flow);
                }
            }
        } else if (meta.copied == 0) {
            if (last - meta.last >= 0x80000000 || hdr.record.flags[2:2] == 1) {
                taken = 0;
                events.count(EVENT_LATE);
            } else {
                occupied.read(meta.occupied, meta.region >> 6);
                occupied.write(meta.region >> 6, meta.occupied - 1);
            }
        }
        if (taken == 1) {
            events.count(EVENT_TAKEN);
            if (over == 1) {
                keys.write(meta.slot, 0);
            } else {
                states.write(meta.slot, opened ++ last ++ meta.owner ++ 5w0 ++ 1w1 ++ closing ++ established);
            }
        }
    }
}
