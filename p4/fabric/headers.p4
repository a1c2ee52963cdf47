// Headers, constants and metadata.

#define CPU_PORT 510
#define DROP_PORT 511

// Slots for pins or for connections: a switch has one role, so both live in the same registers. A power of two.
#define SLOTS 131072
// Memory of refused connections, a power of two.
#define REFUSALS 65536
// Sequence numbers of mirror streams: two for each.
#define STREAMS 16384

const bit<16> TYPE_IPV4 = 0x0800;
const bit<16> TYPE_ARP = 0x0806;
const bit<16> TYPE_LLDP = 0x88cc;
const bit<16> TYPE_RECORD = 0x88b5;

// MAC addresses of nodes are 02:46:53:01 and the node's index.
const bit<32> NODE_PREFIX = 0x02465301;
const bit<48> GATEWAY_MAC = 0x024653000001;

typedef bit<8> role_t;
const role_t ROLE_OUTSIDE = 0;
const role_t ROLE_ROUTER = 1;
const role_t ROLE_TRANSIT = 2;
const role_t ROLE_ACCESS = 3;

typedef bit<8> kind_t;
const kind_t KIND_CLOSED = 0;
const kind_t KIND_EDGE = 1;
const kind_t KIND_LINK = 2;
const kind_t KIND_INSIDE = 3;
const kind_t KIND_OUTSIDE = 4;
// Mirror ports: LLDP and records.
const kind_t KIND_MIRROR = 5;

// What the table `routes` says of a destination.
typedef bit<3> way_t;
const way_t WAY_NONE = 0;
const way_t WAY_DELIVER = 1;
const way_t WAY_NODE = 2;
const way_t WAY_SET = 3;
const way_t WAY_SERVICE = 4;

// Cells of the counter `events`.
const bit<32> EVENT_ADMITTED = 0;
const bit<32> EVENT_REFUSED = 1;
const bit<32> EVENT_UNKNOWN = 2;
const bit<32> EVENT_PINNED = 3;
const bit<32> EVENT_EVICTED = 4;
const bit<32> EVENT_NO_ROOM = 5;
const bit<32> EVENT_MIRRORED = 6;
// Of records that came: taken; not from where they may come, or no records; repeated; numbers that are missing before
// them; of connections that are over, or that this switch knows more of; without room.
const bit<32> EVENT_TAKEN = 7;
const bit<32> EVENT_FORGED = 8;
const bit<32> EVENT_REPEATED = 9;
const bit<32> EVENT_GAPS = 10;
const bit<32> EVENT_LATE = 11;
const bit<32> EVENT_NO_COPY = 12;
#define EVENTS 13

// Packet-outs and packet-ins.
const bit<7> PURPOSE_SWEEP = 1;
const bit<7> REASON_FRAME = 0;
const bit<7> REASON_SWEEP = 1;

const bit<16> SWEEP_CONNECTIONS = 1;
const bit<16> SWEEP_PINS = 2;
const bit<16> SWEEP_EMIT = 3;
const bit<16> SWEEP_DIGEST = 4;
const bit<16> SWEEP_DOUBT = 5;
const bit<16> SWEEP_PURGE = 6;

// Values of standard_metadata.instance_type.
const bit<32> INSTANCE_INGRESS_CLONE = 1;
const bit<32> INSTANCE_RECIRCULATED = 4;

// Clone session that leads to the controller; without it copies are lost and nothing else.
const bit<32> COPY_SESSION = 255;

// What a clone is, and the field lists that are preserved.
typedef bit<2> copy_t;
const copy_t COPY_FRAME = 1;
const copy_t COPY_RECORD = 2;
#define LIST_FRAME 1
#define LIST_RECORD 2
#define LIST_SWEEP 3

// Times are milliseconds since the switch started, modulo 2^32; ages are compared modulo 2^32 too.
typedef bit<32> time_ms_t;
// A pin that no packet used for so long is freed by a sweep.
const time_ms_t PIN_IDLE_MS = 600000;
// The same after a FIN or RST.
const time_ms_t PIN_CLOSING_MS = 60000;
// A refused connection is remembered so long after its last opening packet: the longest pause between retransmissions
// is 32 s.
const time_ms_t REFUSED_MS = 40000;

// A connection in use is mirrored again when its packet is the first in a stretch of 2^15 ms of the clock; so much longer
// a copy without news is kept.
#define TOUCH_BITS 15
const time_ms_t COPY_SLACK_MS = 32768;
// Ends that one sweep tells the shadows of; the copies of others age by themselves.
const bit<32> SWEEP_ENDS_MAX = 256;

// State of a slot: the first packet, the last one, the node of a pin or the owner of a connection, and flags:
// 1 established, 2 closing, 4 a copy of what another router carries, 8 a copy in doubt.
//
//  8              4              0  (bytes from the right: 11 in all)
//  +--------------+--------------+-------+-------+
//  |  opened (32) |   last (32)  |node 16|flags 8|
//  +--------------+--------------+-------+-------+
typedef bit<88> slot_t;

// What happened to a connection.
const bit<8> CHANGE_NONE = 0;
const bit<8> CHANGE_OPENED = 1;
const bit<8> CHANGE_ESTABLISHED = 2;
const bit<8> CHANGE_CLOSING = 3;
const bit<8> CHANGE_TOUCHED = 4;
const bit<8> CHANGE_ENDED = 5;
// Nothing: a sweep came by.
const bit<8> CHANGE_EMITTED = 6;

// First byte of a record: version 1, profile 2, that of switches.
const bit<8> RECORD_FIRST = 0x12;

// Client address, server address, client port, server port, protocol: the same for both directions.
typedef bit<104> tuple_t;

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

// See docs/P4.md, "Sweeps".
header sweep_t {
    bit<16> kind;
    bit<16> owner;
    bit<32> token;
    bit<32> next;
    bit<32> end;
    bit<32> live;
    bit<32> closing;
    bit<32> half_open;
    bit<32> freed;
    bit<32> freed_ms;
    bit<32> occupied;
    bit<16> session;
    bit<16> settle_ms;
    bit<32> copies;
    bit<32> doubted;
    bit<32> count;
    bit<32> sent;
    bit<64> digest;
}

header ethernet_t {
    bit<48> dst;
    bit<48> src;
    bit<16> type;
}

header arp_t {
    bit<48> kinds;
    bit<16> operation;
    bit<48> sender_mac;
    bit<32> sender;
    bit<48> target_mac;
    bit<32> target;
}

header ipv4_t {
    bit<4>  version;
    bit<4>  words;
    bit<8>  service;
    bit<16> length;
    bit<16> identification;
    bit<3>  flags;
    bit<13> fragment;
    bit<8>  ttl;
    bit<8>  protocol;
    bit<16> checksum;
    bit<32> src;
    bit<32> dst;
}

// Of TCP and UDP alike.
header ports_t {
    bit<16> src;
    bit<16> dst;
}

// The rest of TCP as far as the flags.
header tcp_t {
    bit<64> numbers;
    bit<8>  offset;
    bit<8>  flags;
}

header echo_t {
    bit<8>  type;
    bit<8>  code;
    bit<16> checksum;
    bit<16> id;
}

// A state of a connection on a mirror port: see docs/P4.md, "Records".
header record_t {
    bit<8>  first;
    bit<8>  event;
    bit<16> owner;
    bit<32> sequence;
    bit<32> slot;
    time_ms_t age_ms;
    time_ms_t silent_ms;
    tuple_t flow;
    bit<8>  flags;
}

struct headers_t {
    packet_in_t  packet_in;
    packet_out_t packet_out;
    sweep_t      sweep;
    ethernet_t   ethernet;
    record_t     record;
    arp_t        arp;
    ipv4_t       ipv4;
    ports_t      ports;
    tcp_t        tcp;
    echo_t       echo;
}

struct metadata_t {
    // Who this switch is, and where the packet came in.
    bit<16> index;
    role_t  role;
    kind_t  kind;
    @field_list(LIST_FRAME)
    bit<9>  from;

    // From the parser: ports (echo: the identifier, twice), TCP flags, whether any packet of this kind opens.
    bit<1>  has_ports;
    bit<1>  starts;
    bit<16> src_port;
    bit<16> dst_port;
    bit<8>  tcp_flags;

    // The connection that the packet belongs to.
    @field_list(LIST_RECORD)
    tuple_t flow;
    bit<32> hash;
    bit<32> set1;
    bit<32> set2;
    bit<32> spread;
    bit<1>  opens;
    bit<1>  ends;
    bit<1>  from_client;

    // Where it may go.
    bit<1>  welcome;
    way_t   way;
    bit<16> service;
    bit<16> set;
    bit<16> router;
    bit<16> node;
    bit<48> sender;
    bit<1>  chooses;
    bit<1>  told;
    bit<1>  go;
    bit<1>  sent;

    // The region of slots, and what was found there.
    bit<1>  held;
    @field_list(LIST_RECORD)
    bit<16> owner;
    bit<32> region;
    bit<32> mask;
    bit<32> capacity;
    time_ms_t idle_ms;
    time_ms_t closing_ms;
    time_ms_t half_open_ms;
    bit<32> parts;
    bit<32> part;
    bit<8>  places;
    bit<1>  trusted;
    bit<32> stream;
    @field_list(LIST_RECORD)
    bit<32> slot;
    bit<1>  hit;
    bit<1>  full;
    bit<1>  renewed;
    time_ms_t now;
    time_ms_t opened;
    time_ms_t last;
    bit<16> pinned;
    @field_list(LIST_RECORD)
    bit<1>  established;
    @field_list(LIST_RECORD)
    bit<1>  closing;
    @field_list(LIST_RECORD)
    bit<1>  copied;
    bit<32> occupied;

    // Clones and recirculation.
    @field_list(LIST_FRAME, LIST_RECORD)
    copy_t  copy;
    @field_list(LIST_RECORD)
    bit<8>  change;
    @field_list(LIST_RECORD)
    bit<32> sequence;
    @field_list(LIST_RECORD)
    time_ms_t age_ms;
    @field_list(LIST_RECORD)
    time_ms_t silent_ms;
    bit<16> session;
    @field_list(LIST_SWEEP)
    bit<48> clock;
}
