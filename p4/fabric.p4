// The data path of every stage in one v1model program: who a switch is, the control plane says (table `node`).
// docs/P4.md describes it; fabric.mapping.yaml binds its tables to the parts that the controller knows.
//
// Registers cannot be read by the control plane of BMv2 and there are no timers: what is counted or aged is done by
// sweep packets, which the controller sends (fabric/sweep.p4). All state is changed in ingress, which is one thread.

#include <core.p4>
#include <v1model.p4>

#include "fabric/headers.p4"
#include "fabric/parser.p4"
#include "fabric/ingress.p4"
#include "fabric/egress.p4"

// The checksum of IPv4 is brought up to date where the TTL changes (RFC 1141), so that options need not be parsed, and
// a frame that came with a wrong checksum leaves with a wrong one.
control NoChecksum(inout headers_t hdr, inout metadata_t meta) {
    apply { }
}

V1Switch(Decode(), NoChecksum(), Forward(), Leave(), NoChecksum(), Encode()) main;
