// The tables that the control plane fills. Included into the ingress control.

counter(512, CounterType.packets_and_bytes) port_in;

action become(bit<16> node, role_t role) {
    meta.index = node;
    meta.role = role;
}

// No key: the default action says who this switch is.
table self {
    actions = { become; }
    default_action = become(0, ROLE_TRANSIT);
    size = 1;
}

action face(kind_t kind) {
    port_in.count((bit<32>)standard.ingress_port);
    meta.from = standard.ingress_port;
    meta.kind = kind;
    standard.egress_spec = DROP_PORT;
}

table ports {
    key = { standard.ingress_port: exact @name("port"); }
    actions = { face; }
    default_action = face(KIND_CLOSED);
    size = 512;
}

// The answer goes back out of the port that the request came in by, and the request to the controller.
action answer() {
    hdr.ethernet.dst = hdr.arp.sender_mac;
    hdr.ethernet.src = GATEWAY_MAC;
    hdr.arp.operation = 2;
    hdr.arp.target_mac = hdr.arp.sender_mac;
    hdr.arp.sender_mac = GATEWAY_MAC;
    bit<32> asked = hdr.arp.target;
    hdr.arp.target = hdr.arp.sender;
    hdr.arp.sender = asked;
    standard.egress_spec = standard.ingress_port;
    meta.copy = COPY_FRAME;
    clone_preserving_field_list(CloneType.I2E, COPY_SESSION, LIST_FRAME);
}

table gateways {
    key = { hdr.arp.target: exact @name("target"); }
    actions = { answer; @defaultonly NoAction; }
    default_action = NoAction();
    size = 256;
}

// To what hangs on this switch.
action deliver(bit<48> mac, bit<9> port) {
    hdr.ethernet.dst = mac;
    hdr.ethernet.src = GATEWAY_MAC;
    standard.egress_spec = port;
    meta.way = WAY_DELIVER;
}

// The source is this switch, at a router the owner of the connection.
action to_node(bit<16> node) {
    hdr.ethernet.dst = NODE_PREFIX ++ node;
    hdr.ethernet.src = meta.sender;
    meta.node = node;
    meta.way = WAY_NODE;
}

action to_set(bit<16> set) {
    meta.set = set;
    meta.way = WAY_SET;
}

action serve(bit<16> service) {
    meta.service = service;
    meta.way = WAY_SERVICE;
}

action refuse() { }

table routes {
    key = { hdr.ipv4.dst: lpm @name("destination"); }
    actions = { deliver; to_node; to_set; serve; refuse; }
    default_action = refuse();
    size = 16384;
}

action means(bit<16> node) {
    hdr.ethernet.dst = NODE_PREFIX ++ node;
    hdr.ethernet.src = meta.sender;
    meta.node = node;
    meta.go = 1;
}

// The selectors of one switch take different functions of the flow, and `meta.spread` depends on the switch: else every
// choice among equals would repeat the one before.
@max_group_size(64)
action_selector(HashAlgorithm.crc16, 1024, 16) outside_switches;

table sets {
    key = {
        meta.set: exact @name("set");
        meta.spread: selector;
    }
    actions = { means; @defaultonly NoAction; }
    implementation = outside_switches;
    size = 1024;
}

action choose(bit<16> router) {
    meta.router = router;
    meta.go = 1;
}

@max_group_size(256)
action_selector(HashAlgorithm.crc32, 4096, 32) routers;

// Weights of a group add up to 256, always: a change then moves no more of the hash space than it must. (CRC-16 would
// not do: consecutive ports fall into one half of it.)
table choice {
    key = {
        meta.service: exact @name("service");
        meta.flow: selector;
    }
    actions = { choose; @defaultonly NoAction; }
    implementation = routers;
    size = 256;
}

direct_counter(CounterType.packets_and_bytes) choices;

action count() { }

// Applied when a connection chose: the packets of an entry are the connections that a router was given.
table chosen {
    key = {
        meta.service: exact @name("service");
        meta.router: exact @name("router");
    }
    actions = { count; @defaultonly NoAction; }
    default_action = NoAction();
    counters = choices;
    size = 4096;
}

// What a router id means now: itself, or the shadow in its place.
table indirection {
    key = { meta.router: exact @name("router"); }
    actions = { means; @defaultonly NoAction; }
    default_action = NoAction();
    size = 1024;
}

action hold(bit<32> region, bit<32> mask, bit<32> capacity, time_ms_t idle_ms, time_ms_t closing_ms,
            time_ms_t half_open_ms, bit<16> session, bit<32> parts, bit<32> part, bit<8> places) {
    meta.held = 1;
    meta.router = meta.owner;
    meta.region = region;
    meta.mask = mask;
    meta.slot = region + meta.slot;
    meta.set1 = region + (meta.set1 & mask);
    meta.set2 = region + (meta.set2 & mask);
    meta.capacity = capacity;
    meta.idle_ms = idle_ms;
    meta.closing_ms = closing_ms;
    meta.half_open_ms = half_open_ms;
    meta.session = session;
    meta.parts = parts;
    meta.part = part;
    meta.places = places;
}

// Whose connections this router holds, where in the registers, and which session mirrors them (0: none). Regions of
// others lie one `part` after the other from `parts` on; those that are in use are the ones of `places`.
table owners {
    key = { meta.owner: exact @name("node"); }
    actions = { hold; @defaultonly NoAction; }
    default_action = NoAction();
    size = 64;
}

action send(bit<9> port) {
    standard.egress_spec = port;
    meta.sent = 1;
}

// The member without a watched port that every group of ports needs: BMv2 divides by the number of members whose ports
// are up.
action stay() { }

// Groups of ports, for all tables below: what follows when a port goes down holds for one selector only, for the first
// in the order of identifiers, in the P4Runtime server of BMv2.
//
// A flow may meet `stay` while ports are up. Then it looks again, one further in the group, where `stay` is not: so the
// hash of this selector is the number itself.
@id(1)
@max_group_size(64)
action_selector(HashAlgorithm.identity, 8192, 32) links;

// Ways of the lowest rank.
table next_hops {
    key = {
        meta.node: exact @name("node");
        meta.spread: selector;
    }
    actions = { send; stay; @defaultonly NoAction; }
    implementation = links;
    size = 4096;
}

// The same entries.
table next_hops_again {
    key = {
        meta.node: exact @name("node");
        meta.spread: selector;
    }
    actions = { send; stay; @defaultonly NoAction; }
    implementation = links;
    size = 4096;
}

// Ways of the next rank.
table fallbacks {
    key = {
        meta.node: exact @name("node");
        meta.spread: selector;
    }
    actions = { send; stay; @defaultonly NoAction; }
    implementation = links;
    size = 4096;
}

// The same entries.
table fallbacks_again {
    key = {
        meta.node: exact @name("node");
        meta.spread: selector;
    }
    actions = { send; stay; @defaultonly NoAction; }
    implementation = links;
    size = 4096;
}

// What is left, which needs no watched ports: it is sent there or lost.
table last_resorts {
    key = {
        meta.node: exact @name("node");
        meta.spread: selector;
    }
    actions = { send; stay; @defaultonly NoAction; }
    implementation = links;
    size = 4096;
}

action instead() {
    meta.owner = hdr.ethernet.src[15:0];
    meta.sender = hdr.ethernet.src;
}

// For whom this router may stand in: what is addressed to it and comes from one of them is a packet of theirs.
table stands_in {
    key = { hdr.ethernet.src[15:0]: exact @name("node"); }
    actions = { instead; @defaultonly NoAction; }
    default_action = NoAction();
    size = 64;
}

action trust(bit<32> stream) {
    meta.trusted = 1;
    meta.stream = stream;
}

// Whose records may come in by which port, and where the numbers of this stream are remembered.
table replicas {
    key = {
        standard.ingress_port: exact @name("port");
        hdr.record.owner: exact @name("node");
    }
    actions = { trust; @defaultonly NoAction; }
    default_action = NoAction();
    size = 1024;
}
