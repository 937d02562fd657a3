/*
 * The modelled host: pCPUs, locks, p2ms, domains, and what is counted. Times are nanoseconds of virtual time.
 *
 * The rules are those of docs/background/machine.md, tables.md and timing.md. Those of timing.md that replay does not
 * follow yet are behind switches: -DNEW_RULES=1 turns all of them on.
 */
#ifndef HOST_H
#define HOST_H

#include <stdbool.h>
#include <stdint.h>

#include "ept.h"
#include "heap.h"

#ifndef NEW_RULES
#define NEW_RULES 0
#endif
#ifndef SEND_IRQOFF		/* interrupts are off while a broadcast is sent */
#define SEND_IRQOFF NEW_RULES
#endif
#ifndef EXIT_IRQOFF		/* ... and for a while behind a VM exit */
#define EXIT_IRQOFF NEW_RULES
#endif
#ifndef BUSY_IRQOFF		/* handlers, re-entries, an INVEPT before an entry count as mode irqoff */
#define BUSY_IRQOFF NEW_RULES
#endif
#ifndef DEEP_WAKE		/* whoever has idled for long wakes up slowly */
#define DEEP_WAKE NEW_RULES
#endif
#ifndef OTHER_CALLS		/* calls of no p2m interrupt their targets */
#define OTHER_CALLS NEW_RULES
#endif
#ifndef UNEXPLAINED		/* a broadcast with targets takes t_unexplained at its end */
#define UNEXPLAINED NEW_RULES
#endif
#ifndef SHARED_LINE		/* who acknowledges gets the cache line in which all targets do so */
#define SHARED_LINE NEW_RULES
#endif
#ifndef SHORTHAND		/* a call of all pCPUs online may be one message */
#define SHORTHAND NEW_RULES
#endif
#ifndef NEW_COUNTS		/* time buckets, stalls, rows that waited, register writes, how long locks are held */
#define NEW_COUNTS NEW_RULES
#endif

#define NOBODY (-1)
#define WORDS (MAX_PCPUS / 64)
#define DEPTH 4

/* Operations, as eptreplay/workload/schema.py numbers them, and two flags beside them. */
enum op {
	OP_VMENTER, OP_VMEXIT, OP_SWITCH_IN, OP_SWITCH_OUT, OP_IDLE, OP_WAKE, OP_LOST, OP_HOLD_BEGIN, OP_SET,
	OP_HOLD_END = 15, OP_CALL = 21, OP_WAIT = 22,
	OP_MASK = 0x3f, OP_WAITS_FOR = 0x40, OP_WAITED_FOR = 0x80,
};

enum mode { GUEST, XEN, SPIN, IDLE, UNKNOWN, IRQOFF, MODES };

/* What the program of a pCPU is at. */
enum phase {
	GAP,		/* until the next row */
	TAKING, QUEUED, INHERITING,		/* a p2m lock: it was free, is waited for, is on its way */
	STORING,	/* behind a write */
	CALL_TAKING, CALL_QUEUED, CALL_INHERITING,
	SENDING,
	ANSWERS,	/* until the last acknowledgement */
	LINGERING,	/* what nothing explains */
	INVALIDATING,	/* INVEPT before a VM entry */
};

enum measure { M_HOLDS, M_HOLD_NS, M_SETS, M_STORES, M_SYNCS, M_BROADCASTS, M_IPIS, M_INVEPTS, M_STOLEN, MEASURES };

enum status { FINE, STUCK, UNSUPPORTED, NO_ROOM };

struct costs {
	int64_t acquire, handoff[3], set, store, setup, icr, deliver[3], ack[3], handler, exit, entry, wake, invept, refill;
	int64_t cores, threads;
	int64_t irqoff, wake_deep, deep_after, unexplained, timeout;
	int64_t online, shorthand;
};

struct act {
	int64_t gfn;		/* NOBODY: unknown */
	uint64_t entry;
	int32_t count;
	int16_t old_type;
	uint8_t cause, level, present, pad[7];
};

/* The numbered workload, as the engine has it; the caller's arrays. */
struct program {
	int32_t pcpus, p2ms, domains, vcpus, holds, tables, causes;
	int32_t other_cause;		/* the cause of marks that no write has made */
	const int64_t *begin, *gap, *edge;
	const uint8_t *op;
	const int32_t *arg, *item, *edge_owner;
	const int32_t *target;		/* of CALL: pCPU, or NOBODY for all */
	const struct act *act;
	const int64_t *number;		/* of each pCPU in Xen */
	const int32_t *domain_of;	/* per p2m */
	const uint8_t *unknown;		/* per p2m: its domain was there before the recording */
	const uint8_t *marked;		/* per p2m: all pCPUs are marked at first */
	const int64_t *hold_cause;
};

struct pcpus {
	uint64_t word[WORDS];
};

struct lock {
	int32_t owner, first, last;
	int64_t since, held;	/* of the owner; in all */
};

struct p2m {
	struct lock lock;
	int32_t domain, hold;
	uint32_t root;
	uint8_t unknown, owed, owed_cause, mark_cause;
	struct pcpus marks;
};

struct domain {
	int32_t p2m;
	struct pcpus dirty;
};

struct hold {
	int64_t cause, request, acquire, release, end, sets, broadcasts, done;
};

struct broadcast {
	int64_t asked, locked, answered;
	int64_t line_at;	/* when the last who got the line of acknowledgements has cleared its bit ... */
	int32_t line_by;	/* ... and who that is */
	int32_t p2m, hold, left, targets, row;
	uint8_t cause, wanted, ends_hold, is_other;
};

struct pcpu {
	int64_t due;		/* end of the phase, as far as it hangs on time */
	int64_t left;		/* what is left of it while an interrupt keeps the pCPU from its work, else NEVER */
	int64_t busy_until;	/* end of the handler or the re-entry */
	int64_t irq_at;
	int64_t irqs_on_at;
	int32_t irq_from;	/* sender of an interrupt on its way, or NOBODY */
	int32_t handling;	/* sender of the one in its handler, or NOBODY */
	uint8_t phase, mode, shown, reentering, clearing, waits_for_row, depth;
	int64_t pc, first, last;
	int64_t recorded, ended, since;
	int64_t edge;
	int32_t next;		/* in the queue of a lock, or among those who wait for a row of the same pCPU */
	int32_t waiters;	/* the first of those who wait for a row of this one */
	int32_t domain, vcpu, entered;
	int32_t cold_cause, cold_domain;
	int32_t struck_domain, struck_cause;
	int64_t struck_at;	/* NEVER: no guest was interrupted */
	int32_t core, socket;
	int32_t repeats;
	int64_t stalled_at;	/* NEVER: softirqs can run */
	int64_t waits_since, edges_waited, edge_wait;
	int32_t held_p2m[DEPTH], held[DEPTH];
	struct broadcast cast;
	int64_t in_mode[MODES];
};

struct totals {
	int64_t vmenters, vmenter_invepts, under_lock, call_wait, post_unlock, simulated, status, status_row;
	int64_t other_calls, other_ipis, icr_writes, longest_stall, watchdog_at;
};

/* What is counted by time: each bucket for so many ns, twice as many whenever they do not reach far enough. */
#define BUCKETS 256
#define FIRST_WIDTH 1024

struct timeline {
	int64_t width, end, now;
	int64_t bucket[BUCKETS][MEASURES];
};

struct host {
	const struct program *program;
	struct costs cost;
	uint32_t words;
	struct heap heap;
	struct pcpu *cpu;
	struct p2m *p2m;
	struct domain *domain;
	struct lock call_lock;
	int32_t *loaded_on;	/* per vCPU */
	struct pool pool;
	int64_t (*measure)[MEASURES];	/* per domain and cause */
	struct hold *hold;
	struct totals total;
	struct timeline timeline;
};

#endif
