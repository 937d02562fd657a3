/*
 * The replay of the benchmark's mix under the strategy `deferred`, the p2m lock being of policy `queue`: what the engine
 * of eptreplay is measured against. It counts what the engine counts, and refuses rows that the mix does not have.
 */
#include <string.h>

#include "host.h"

static inline int64_t later(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* Sets of pCPUs. */

static inline bool contains(const struct pcpus *set, int32_t c)
{
	return set->word[c >> 6] >> (c & 63) & 1;
}

static inline void insert(struct pcpus *set, int32_t c)
{
	set->word[c >> 6] |= UINT64_C(1) << (c & 63);
}

static inline void drop(struct pcpus *set, int32_t c)
{
	set->word[c >> 6] &= ~(UINT64_C(1) << (c & 63));
}

static inline void fill(struct pcpus *set, uint32_t words)
{
	memset(set->word, 0xff, words * sizeof(set->word[0]));
}

/* Small questions. */

static inline int distance(const struct pcpu *a, const struct pcpu *b)
{
	return a->core == b->core ? 0 : a->socket == b->socket ? 1 : 2;
}

/* Count something for a domain and a cause, and for the time that it is. */
static inline void charge(struct host *h, int32_t domain, int32_t cause, enum measure what, int64_t amount)
{
	h->measure[(int64_t)domain * h->program->causes + cause][what] += amount;
	if (NEW_COUNTS)
		h->timeline.bucket[h->timeline.now][what] += amount;
}

/* Turn to the bucket of a time. */
static void turn_to(struct timeline *t, int64_t now)
{
	while (now >= BUCKETS * t->width) {
		for (int i = 0; i < BUCKETS / 2; i++)
			for (int what = 0; what < MEASURES; what++)
				t->bucket[i][what] = t->bucket[2 * i][what] + t->bucket[2 * i + 1][what];
		memset(t->bucket[BUCKETS / 2], 0, sizeof(t->bucket) / 2);
		t->width *= 2;
	}
	t->now = now / t->width;
	t->end = (t->now + 1) * t->width;
}

static inline enum op op_of(const struct program *w, int64_t row)
{
	return w->op[row] & OP_MASK;
}

/* Whether a gap ends at the recorded time: behind IDLE and LOST. */
static inline bool is_elastic(const struct program *w, const struct pcpu *p)
{
	enum op before;

	if (p->pc == p->first || p->pc == p->last)
		return false;
	before = op_of(w, p->pc - 1);
	return before == OP_IDLE || before == OP_LOST;
}

static inline bool spins(const struct pcpu *p)
{
	return p->phase != GAP && p->phase != STORING && p->phase != INVALIDATING;
}

/* The mode that an interrupt meets, or met. */
static inline enum mode mode_below(const struct pcpu *p)
{
	return spins(p) ? SPIN : p->mode;
}

static inline enum mode mode_of(const struct pcpu *p)
{
	if (p->handling != NOBODY || p->reentering)
		return BUSY_IRQOFF ? IRQOFF : XEN;
	if (BUSY_IRQOFF && p->phase == INVALIDATING)
		return IRQOFF;
	if (SEND_IRQOFF && p->phase == SENDING)
		return IRQOFF;
	return mode_below(p);
}

/* Whether the program takes so much longer as it is kept from what it is at. */
static inline bool is_at_work(const struct program *w, const struct pcpu *p)
{
	switch (p->phase) {
	case GAP:
		return p->mode != IDLE && !is_elastic(w, p);
	case QUEUED:
	case INHERITING:
	case CALL_QUEUED:
	case CALL_INHERITING:
	case ANSWERS:
		return false;
	default:
		return true;
	}
}

/* When interrupts that have arrived can be taken, apart from handlers and re-entries; NEVER: not in this phase. */
static inline int64_t takes_irqs_at(const struct pcpu *p)
{
	if (p->phase == INVALIDATING || (SEND_IRQOFF && p->phase == SENDING))
		return NEVER;
	return EXIT_IRQOFF ? later(p->irq_at, p->irqs_on_at) : p->irq_at;
}

/* When the program can go on, but for interrupts. */
static inline int64_t program_time(const struct pcpu *p)
{
	switch (p->phase) {
	case GAP:
		return p->pc == p->last || p->waits_for_row ? NEVER : p->due;
	case QUEUED:
	case CALL_QUEUED:
		return NEVER;
	case ANSWERS:
		return p->cast.left ? NEVER : p->cast.answered;
	default:
		return p->due;
	}
}

/* Enter when a pCPU has something to do next, after what has happened to it at `now`. */
static inline void schedule(struct host *h, int32_t c, int64_t now)
{
	const struct pcpu *p = &h->cpu[c];
	int64_t time;

	if (p->handling != NOBODY || p->reentering) {
		time = p->busy_until;
	} else {
		time = program_time(p);
		if (p->irq_from != NOBODY) {
			int64_t irq = takes_irqs_at(p);

			time = irq < time ? irq : time;
		}
	}
	heap_set(&h->heap, (uint32_t)c, later(time, now));
}

/* Account for the time since the last account: behind a VM exit, interrupts have been off at first. */
static inline void count_mode(struct pcpu *p, int64_t now)
{
	if (EXIT_IRQOFF && p->shown == XEN && p->irqs_on_at > p->since) {
		int64_t on_at = p->irqs_on_at < now ? p->irqs_on_at : now;

		p->in_mode[IRQOFF] += on_at - p->since;
		p->since = on_at;
	}
	p->in_mode[p->shown] += now - p->since;
	p->since = now;
}

static inline void show_mode(struct pcpu *p, int64_t now)
{
	enum mode mode = mode_of(p);

	if (mode != p->shown) {
		count_mode(p, now);
		p->shown = mode;
	}
}

/* Softirqs cannot run from the beginning of a stall to its end. */

static inline void begin_stall(struct pcpu *p, int64_t now)
{
	if (NEW_COUNTS && p->stalled_at == NEVER)
		p->stalled_at = now;
}

static inline void end_stall(struct host *h, struct pcpu *p, int64_t now)
{
	int64_t fires = p->stalled_at + h->cost.timeout;

	h->total.longest_stall = later(h->total.longest_stall, now - p->stalled_at);
	if (now >= fires && fires < h->total.watchdog_at)
		h->total.watchdog_at = fires;
	p->stalled_at = NEVER;
}

/* End a row: the next one is due after its gap, or, after idling and lost records, when it was recorded. */
static inline void begin_gap(struct host *h, struct pcpu *p, int64_t now)
{
	const struct program *w = h->program;

	p->phase = GAP;
	p->ended = now;
	p->due = now;
	if (NEW_COUNTS && p->stalled_at != NEVER && p->depth == 0)
		end_stall(h, p, now);
	if (p->pc == p->last)
		return;
	p->recorded += w->gap[p->pc];
	p->due = is_elastic(w, p) ? p->recorded : now + w->gap[p->pc];
}

/* Locks: first come, first served. */

static inline void request_lock(struct host *h, struct lock *lock, int32_t c, enum phase taking, int64_t now)
{
	struct pcpu *p = &h->cpu[c];

	if (lock->owner == NOBODY) {
		lock->owner = c;
		p->phase = taking;
		p->due = now + h->cost.acquire;
		return;
	}
	p->phase = (uint8_t)(taking + 1);
	p->next = NOBODY;
	if (lock->first == NOBODY)
		lock->first = c;
	else
		h->cpu[lock->last].next = c;
	lock->last = c;
}

static inline void pass_on(struct host *h, struct lock *lock, const struct pcpu *from, int64_t now)
{
	struct pcpu *heir;
	int32_t c = lock->first;

	if (NEW_COUNTS)
		lock->held += now - lock->since;
	lock->owner = c;
	if (c == NOBODY)
		return;
	heir = &h->cpu[c];
	lock->first = heir->next;
	heir->phase++;
	heir->due = now + h->cost.handoff[distance(from, heir)];
	schedule(h, c, now);
}

/* INVEPT and VM entries. */

/* If pCPU c is marked for the domain that it is about to enter, clear the mark and execute INVEPT. */
static inline bool invalidate(struct host *h, int32_t c, int32_t domain)
{
	struct pcpu *p = &h->cpu[c];
	struct p2m *p2m;

	if (domain == NOBODY || h->domain[domain].p2m == NOBODY)
		return false;
	p2m = &h->p2m[h->domain[domain].p2m];
	if (!contains(&p2m->marks, c))
		return false;
	drop(&p2m->marks, c);
	p->cold_cause = p2m->mark_cause;
	p->cold_domain = domain;
	charge(h, domain, p2m->mark_cause, M_INVEPTS, 1);
	h->total.vmenter_invepts++;
	if (p->struck_at == NEVER)
		charge(h, domain, p2m->mark_cause, M_STOLEN, h->cost.invept);
	return true;
}

/* Be in guest: what was invalidated is refilled, once, and what an interrupt took from the guest is charged. */
static inline void be_in_guest(struct host *h, struct pcpu *p, int64_t now)
{
	int64_t refill = 0;

	p->mode = GUEST;
	h->total.vmenters++;
	if (p->cold_cause != NOBODY) {
		refill = h->cost.refill;
		if (p->left != NEVER)
			p->left += refill;
		else
			p->due += refill;
		if (p->struck_at == NEVER)
			charge(h, p->cold_domain, p->cold_cause, M_STOLEN, refill);
		p->cold_cause = NOBODY;
	}
	if (p->struck_at != NEVER) {
		charge(h, p->struck_domain, p->struck_cause, M_STOLEN, now - p->struck_at + refill);
		p->struck_at = NEVER;
	}
}

/* End VMENTER, once its INVEPT is over. */
static inline void enter(struct host *h, struct pcpu *p, int64_t now)
{
	p->entered = h->program->arg[p->pc - 1];
	begin_gap(h, p, now);
	be_in_guest(h, p, now);
}

/* Interrupts. */

static inline void resume(struct pcpu *p, int64_t now)
{
	if (p->left != NEVER) {
		p->due = now + p->left;
		p->left = NEVER;
	}
}

static inline int64_t wake_time(const struct host *h, const struct pcpu *p, int64_t now)
{
	return DEEP_WAKE && now - p->since >= h->cost.deep_after ? h->cost.wake_deep : h->cost.wake;
}

static inline void take_interrupt(struct host *h, int32_t c, int64_t now)
{
	struct pcpu *p = &h->cpu[c];
	const struct broadcast *cast = &h->cpu[p->irq_from].cast;

	if (is_at_work(h->program, p))
		p->left = later(0, p->due - now);
	p->busy_until = now + h->cost.handler;
	switch (mode_below(p)) {
	case GUEST:
		p->busy_until += h->cost.exit;
		if (!cast->is_other) {
			p->struck_at = now;
			p->struck_domain = h->p2m[cast->p2m].domain;
			p->struck_cause = cast->cause;
		}
		break;
	case IDLE:
		p->busy_until += wake_time(h, p, now);
		break;
	default:
		break;
	}
	p->handling = p->irq_from;
	p->irq_from = NOBODY;
}

/* Get the cache line of acknowledgements from whoever has had it last; returns when it has come. */
static inline int64_t get_line(struct host *h, int32_t c, struct broadcast *cast, int64_t now)
{
	cast->line_at = later(now, cast->line_at) + h->cost.handoff[distance(&h->cpu[cast->line_by], &h->cpu[c])];
	cast->line_by = c;
	return cast->line_at;
}

static inline void end_handler(struct host *h, int32_t c, int64_t now)
{
	struct pcpu *p = &h->cpu[c], *sender = &h->cpu[p->handling];
	struct broadcast *cast = &sender->cast;
	int32_t from = p->handling;

	if (SHARED_LINE && !p->clearing) {
		p->busy_until = get_line(h, c, cast, now);
		p->clearing = p->busy_until > now;
		if (p->clearing)
			return;
	}
	p->clearing = false;
	p->handling = NOBODY;
	cast->answered = later(cast->answered, now + h->cost.ack[distance(p, sender)]);
	if (--cast->left == 0)
		schedule(h, from, now);
	if (mode_below(p) == GUEST) {
		p->reentering = true;
		p->busy_until = now + h->cost.entry + (invalidate(h, c, p->entered) ? h->cost.invept : 0);
	} else {
		resume(p, now);
	}
}

/* Broadcasts: on_selected_cpus(). */

static inline void request_broadcast(struct host *h, int32_t c, int64_t now)
{
	struct pcpu *p = &h->cpu[c];
	struct broadcast *cast = &p->cast;

	cast->wanted = false;
	cast->asked = now;
	if (cast->is_other) {
		h->total.other_calls++;
	} else {
		charge(h, h->p2m[cast->p2m].domain, cast->cause, M_BROADCASTS, 1);
		h->total.under_lock += p->depth > 0;
		h->hold[cast->hold].broadcasts++;
	}
	request_lock(h, &h->call_lock, c, CALL_TAKING, now);
}

static inline void end_broadcast(struct host *h, int32_t c, int64_t now)
{
	struct pcpu *p = &h->cpu[c];
	struct broadcast *cast = &p->cast;

	h->total.call_wait += cast->locked - cast->asked;
	if (cast->ends_hold) {
		struct hold *hold = &h->hold[cast->hold];

		hold->end = now;
		h->total.post_unlock += now - hold->release;
	}
	pass_on(h, &h->call_lock, p, now);
	begin_gap(h, p, now);
}

/* A sender's messages: when the last one was written, and whether there is but one, for all pCPUs online. */
struct messages {
	int64_t sent;
	bool shorthand;
};

static inline struct messages first_message(const struct host *h, int64_t targets, int64_t now)
{
	return (struct messages){
		.sent = now + h->cost.setup,
		.shorthand = SHORTHAND && h->cost.shorthand && targets + 1 == h->cost.online,
	};
}

static inline void interrupt(struct host *h, int32_t c, int32_t target, struct messages *messages, int64_t now)
{
	struct pcpu *p = &h->cpu[target];

	if (!messages->shorthand || h->cpu[c].cast.targets == 0) {
		messages->sent += h->cost.icr;
		h->total.icr_writes++;
	}
	p->irq_from = c;
	p->irq_at = messages->sent + h->cost.deliver[distance(&h->cpu[c], p)];
	h->cpu[c].cast.targets++;
	schedule(h, target, now);
}

/* Interrupt the pCPUs of a set but for the sender; else one message, of one register write, for each: x2apic-physical. */
static inline int64_t interrupt_set(struct host *h, int32_t c, const struct pcpus *set, int64_t now)
{
	struct messages messages;
	int64_t targets = -(int64_t)contains(set, c);

	for (uint32_t i = 0; i < h->words; i++)
		targets += __builtin_popcountll(set->word[i]);
	messages = first_message(h, targets, now);
	for (uint32_t i = 0; i < h->words; i++)
		for (uint64_t word = set->word[i]; word; word &= word - 1) {
			int32_t target = (int32_t)(64 * i) + __builtin_ctzll(word);

			if (target != c)
				interrupt(h, c, target, &messages, now);
		}
	return messages.sent;
}

/* Interrupt whom a call of no p2m is for: one pCPU, or all. */
static inline int64_t interrupt_others(struct host *h, int32_t c, int32_t target, int64_t now)
{
	int32_t first = target == NOBODY ? 0 : target, last = target == NOBODY ? h->program->pcpus - 1 : target;
	struct messages messages = first_message(h, last - first + 1 - (first <= c && c <= last), now);

	for (int32_t other = first; other <= last; other++)
		if (other != c)
			interrupt(h, c, other, &messages, now);
	return messages.sent;
}

static inline void send(struct host *h, int32_t c, int64_t now)
{
	struct pcpu *p = &h->cpu[c];
	struct broadcast *cast = &p->cast;
	int64_t sent;

	cast->locked = cast->answered = cast->line_at = h->call_lock.since = now;
	cast->line_by = c;
	cast->targets = 0;
	if (cast->is_other) {
		sent = interrupt_others(h, c, h->program->target[cast->row], now);
		h->total.other_ipis += cast->targets;
	} else {
		int32_t domain = h->p2m[cast->p2m].domain;

		sent = interrupt_set(h, c, &h->domain[domain].dirty, now);
		charge(h, domain, cast->cause, M_IPIS, cast->targets);
	}
	cast->left = cast->targets;
	if (cast->targets == 0) {
		end_broadcast(h, c, now);
		return;
	}
	p->phase = SENDING;
	p->due = sent;
}

static inline void all_answered(struct host *h, int32_t c, int64_t now)
{
	if (UNEXPLAINED && h->cost.unexplained && !h->cpu[c].cast.is_other) {
		h->cpu[c].phase = LINGERING;
		h->cpu[c].due = now + h->cost.unexplained;
	} else {
		end_broadcast(h, c, now);
	}
}

/* Holds. */

static inline bool begin_hold(struct host *h, int32_t c, int32_t n, int32_t hold, int64_t now)
{
	struct pcpu *p = &h->cpu[c];
	struct p2m *p2m = &h->p2m[n];

	if (p->depth == DEPTH)
		return false;
	p->held_p2m[p->depth] = n;
	p->held[p->depth++] = p2m->lock.owner == c ? NOBODY : hold;
	if (p2m->lock.owner == c) {
		begin_gap(h, p, now);
		return true;
	}
	begin_stall(p, now);
	h->hold[hold].request = now;
	request_lock(h, &p2m->lock, c, TAKING, now);
	return true;
}

static inline void acquired(struct host *h, struct pcpu *p, int64_t now)
{
	int32_t hold = p->held[p->depth - 1];
	struct p2m *p2m = &h->p2m[p->held_p2m[p->depth - 1]];

	p2m->hold = hold;
	p2m->lock.since = now;
	h->hold[hold].acquire = now;
	begin_gap(h, p, now);
}

static inline void end_hold(struct host *h, int32_t c, int64_t now)
{
	struct pcpu *p = &h->cpu[c];
	int32_t n = p->held_p2m[--p->depth], number = p->held[p->depth];
	struct p2m *p2m = &h->p2m[n];
	struct hold *hold;

	if (number == NOBODY) {
		begin_gap(h, p, now);
		return;
	}
	hold = &h->hold[number];
	hold->release = hold->end = now;
	hold->done = 1;
	charge(h, p2m->domain, (int32_t)hold->cause, M_HOLDS, 1);
	charge(h, p2m->domain, (int32_t)hold->cause, M_HOLD_NS, now - hold->acquire);
	p2m->hold = NOBODY;
	pass_on(h, &p2m->lock, p, now);
	if (!p2m->owed) {
		begin_gap(h, p, now);
		return;
	}
	p2m->owed = false;
	p->cast.p2m = n;
	p->cast.hold = number;
	p->cast.cause = p2m->owed_cause;
	p->cast.ends_hold = true;
	p->cast.is_other = false;
	request_broadcast(h, c, now);
}

/* Writes. */

static inline bool store(struct host *h, struct pcpu *p, int64_t now)
{
	int64_t row = p->pc - 1;
	struct p2m *p2m = &h->p2m[h->program->arg[row]];
	const struct act *act = &h->program->act[h->program->item[row]];
	struct written done = { .stores = 1 };

	p->repeats--;
	if (act->gfn != NOBODY) {
		int64_t gfn = act->gfn & GFN_MASK;

		enter_evidence(&h->pool, p2m->root, gfn, act->level, p2m->unknown, act->present, act->old_type);
		done = write_entry(&h->pool, p2m->root, gfn, act->level, act->entry);
	}
	charge(h, p2m->domain, act->cause, M_SETS, 1);
	charge(h, p2m->domain, act->cause, M_STORES, done.stores);
	h->hold[p2m->hold].sets++;
	p->phase = STORING;
	p->due = now + h->cost.set + (done.stores + done.built - 1) * h->cost.store;
	if (act->present || done.split) {
		charge(h, p2m->domain, act->cause, M_SYNCS, 1);
		fill(&p2m->marks, h->words);
		p2m->mark_cause = act->cause;
		p2m->owed_cause = p2m->owed ? p2m->owed_cause : act->cause;
		p2m->owed = true;
	}
	/* A table that is freed while a broadcast is owed is a sync point, which the mix does not have. */
	return !(done.freed && p2m->owed);
}

static inline void stored(struct host *h, struct pcpu *p, int64_t now)
{
	if (p->repeats == 0) {
		begin_gap(h, p, now);
	} else if (!store(h, p, now)) {
		h->total.status = UNSUPPORTED;
		h->total.status_row = p->pc - 1;
	}
}

/* Whose state is loaded where. */

static inline void unload(struct host *h, int32_t c)
{
	struct pcpu *p = &h->cpu[c];

	if (p->domain == NOBODY)
		return;
	drop(&h->domain[p->domain].dirty, c);
	if (p->vcpu != NOBODY)
		h->loaded_on[p->vcpu] = NOBODY;
	p->domain = p->vcpu = NOBODY;
}

static inline void load(struct host *h, int32_t c, int32_t domain, int32_t vcpu)
{
	unload(h, c);
	if (domain == NOBODY)
		return;
	if (vcpu != NOBODY) {
		if (h->loaded_on[vcpu] != NOBODY)
			unload(h, h->loaded_on[vcpu]);
		h->loaded_on[vcpu] = c;
	}
	h->cpu[c].domain = domain;
	h->cpu[c].vcpu = vcpu;
	insert(&h->domain[domain].dirty, c);
}

/* Rows. */

static inline bool has_to_wait(struct host *h, int32_t c, int64_t now)
{
	struct pcpu *p = &h->cpu[c], *other;
	const struct program *w = h->program;

	if (!(w->op[p->pc] & OP_WAITS_FOR))
		return false;
	other = &h->cpu[w->edge_owner[p->pc]];
	if (w->edge[p->pc] < other->pc)
		return false;
	p->waits_for_row = true;
	p->waits_since = now;
	p->edge = w->edge[p->pc];
	p->next = other->waiters;
	other->waiters = c;
	return true;
}

static inline void release_waiters(struct host *h, struct pcpu *p, int64_t row, int64_t now)
{
	for (int32_t *link = &p->waiters; *link != NOBODY; ) {
		struct pcpu *waiter = &h->cpu[*link];
		int32_t c = *link;

		if (waiter->edge != row) {
			link = &waiter->next;
			continue;
		}
		*link = waiter->next;
		waiter->waits_for_row = false;
		waiter->edges_waited += now > waiter->waits_since;
		waiter->edge_wait += now - waiter->waits_since;
		schedule(h, c, now);
	}
}

static inline void call(struct host *h, int32_t c, int64_t row, int64_t now)
{
	struct pcpu *p = &h->cpu[c];

	if (!OTHER_CALLS) {
		begin_gap(h, p, now);
		return;
	}
	if (p->depth == 0)
		begin_stall(p, now);
	p->cast.row = (int32_t)row;
	p->cast.ends_hold = false;
	p->cast.is_other = true;
	request_broadcast(h, c, now);
}

static inline bool carry_out(struct host *h, int32_t c, int64_t now)
{
	const struct program *w = h->program;
	struct pcpu *p = &h->cpu[c];
	int64_t row = p->pc;
	int32_t arg = w->arg[row];
	bool supported = true;

	if (has_to_wait(h, c, now))
		return true;
	p->pc++;
	p->irqs_on_at = now < p->irqs_on_at ? now : p->irqs_on_at;
	switch (op_of(w, row)) {
	case OP_VMENTER:
		if (invalidate(h, c, arg)) {
			p->phase = INVALIDATING;
			p->due = now + h->cost.invept;
		} else {
			enter(h, p, now);
		}
		break;
	case OP_VMEXIT:
		p->mode = XEN;
		if (EXIT_IRQOFF) {
			count_mode(p, now);
			p->irqs_on_at = now + h->cost.irqoff;
		}
		begin_gap(h, p, now);
		break;
	case OP_SWITCH_IN:
		load(h, c, arg, w->item[row]);
		p->mode = XEN;
		begin_gap(h, p, now);
		break;
	case OP_SWITCH_OUT:
	case OP_WAKE:
		p->mode = XEN;
		begin_gap(h, p, now);
		break;
	case OP_IDLE:
		p->mode = IDLE;
		begin_gap(h, p, now);
		break;
	case OP_LOST:
		unload(h, c);
		p->mode = UNKNOWN;
		begin_gap(h, p, now);
		break;
	case OP_HOLD_BEGIN:
		supported = begin_hold(h, c, arg, w->item[row], now);
		break;
	case OP_SET:
		p->repeats = w->act[w->item[row]].count;
		supported = store(h, p, now);
		break;
	case OP_HOLD_END:
		end_hold(h, c, now);
		break;
	case OP_CALL:
		supported = arg == NOBODY;
		call(h, c, row, now);
		break;
	case OP_WAIT:
		begin_gap(h, p, now);
		break;
	default:
		supported = false;
		break;
	}
	if (w->op[row] & OP_WAITED_FOR)
		release_waiters(h, p, row, now);
	return supported;
}

static inline bool go_on(struct host *h, int32_t c, int64_t now)
{
	struct pcpu *p = &h->cpu[c];

	switch (p->phase) {
	case GAP:
		return carry_out(h, c, now);
	case TAKING:
	case INHERITING:
		acquired(h, p, now);
		break;
	case STORING:
		stored(h, p, now);
		break;
	case CALL_TAKING:
	case CALL_INHERITING:
		send(h, c, now);
		break;
	case SENDING:
		p->phase = ANSWERS;
		break;
	case ANSWERS:
		all_answered(h, c, now);
		break;
	case LINGERING:
		end_broadcast(h, c, now);
		break;
	default:
		enter(h, p, now);
		break;
	}
	return true;
}

/* Replay everything. Returns what came of it, as `status` does. */
int64_t replay_run(struct host *h)
{
	int64_t now = 0;

	for (int32_t c = 0; c < h->program->pcpus; c++)
		schedule(h, c, 0);
	while (heap_time(h->heap.key[0]) < NEVER) {
		int32_t c = (int32_t)heap_cpu(h->heap.key[0]);
		struct pcpu *p = &h->cpu[c];

		now = heap_time(h->heap.key[0]);
		if (NEW_COUNTS && now >= h->timeline.end)
			turn_to(&h->timeline, now);
		if (p->handling != NOBODY) {
			end_handler(h, c, now);
		} else if (p->reentering) {
			p->reentering = false;
			be_in_guest(h, p, now);
			resume(p, now);
		} else if (p->irq_from != NOBODY && takes_irqs_at(p) <= now) {
			take_interrupt(h, c, now);
		} else if (!go_on(h, c, now)) {
			h->total.status = UNSUPPORTED;
			h->total.status_row = p->pc - 1;
		}
		show_mode(p, now);
		schedule(h, c, now);
	}
	h->total.simulated = now;
	for (int32_t c = 0; c < h->program->pcpus; c++) {
		struct pcpu *p = &h->cpu[c];

		count_mode(p, now);
		if (h->total.status == FINE && (p->pc < p->last || p->phase != GAP)) {
			h->total.status = STUCK;
			h->total.status_row = p->pc;
		}
	}
	if (h->pool.full)
		h->total.status = NO_ROOM;
	return h->total.status;
}

/* What the caller needs besides: a host to be replayed, its counts, its end. */

static void init_cpu(struct host *h, int32_t c)
{
	const struct program *w = h->program;
	struct pcpu *p = &h->cpu[c];

	*p = (struct pcpu){
		.due = w->begin[c] < w->begin[c + 1] ? w->gap[w->begin[c]] : 0,
		.left = NEVER, .struck_at = NEVER, .stalled_at = NEVER,
		.irq_from = NOBODY, .handling = NOBODY, .next = NOBODY, .waiters = NOBODY,
		.phase = GAP, .mode = UNKNOWN, .shown = UNKNOWN,
		.pc = w->begin[c], .first = w->begin[c], .last = w->begin[c + 1],
		.domain = NOBODY, .vcpu = NOBODY, .entered = NOBODY, .cold_cause = NOBODY,
		.core = (int32_t)(w->number[c] / h->cost.threads),
		.socket = (int32_t)(w->number[c] / h->cost.threads / h->cost.cores),
	};
	p->recorded = p->due;
}

static void init_p2m(struct host *h, int32_t n)
{
	const struct program *w = h->program;
	struct p2m *p2m = &h->p2m[n];

	*p2m = (struct p2m){
		.lock = { .owner = NOBODY, .first = NOBODY, .last = NOBODY },
		.domain = w->domain_of[n], .hold = NOBODY, .root = (uint32_t)n, .unknown = w->unknown[n],
		.mark_cause = (uint8_t)w->other_cause,
	};
	h->domain[p2m->domain].p2m = n;
	if (w->marked[n])
		fill(&p2m->marks, h->words);
	if (w->unknown[n])
		h->pool.table[n].entry[0] = new_table(&h->pool);
}

struct host *replay_new(const struct program *w, const struct costs *costs)
{
	struct host *h = calloc(1, sizeof(*h));

	h->program = w;
	h->cost = *costs;
	h->words = (uint32_t)(w->pcpus + 63) / 64;
	h->cpu = aligned_alloc(64, ((size_t)w->pcpus * sizeof(*h->cpu) + 63) & ~(size_t)63);
	h->p2m = calloc((size_t)w->p2ms, sizeof(*h->p2m));
	h->domain = calloc((size_t)w->domains, sizeof(*h->domain));
	h->loaded_on = malloc((size_t)w->vcpus * sizeof(*h->loaded_on));
	h->pool = (struct pool){ .used = (uint32_t)w->p2ms, .room = (uint32_t)w->tables };
	h->pool.table = calloc((size_t)w->tables + 1, sizeof(*h->pool.table));
	h->measure = calloc((size_t)w->domains * (size_t)w->causes, sizeof(*h->measure));
	h->hold = calloc((size_t)w->holds, sizeof(*h->hold));
	h->call_lock = (struct lock){ .owner = NOBODY, .first = NOBODY, .last = NOBODY };
	h->timeline.width = h->timeline.end = FIRST_WIDTH;
	h->total.watchdog_at = NEVER;
	heap_init(&h->heap, (uint32_t)w->pcpus);
	for (int32_t c = 0; c < w->pcpus; c++)
		init_cpu(h, c);
	for (int32_t v = 0; v < w->vcpus; v++)
		h->loaded_on[v] = NOBODY;
	for (int32_t d = 0; d < w->domains; d++)
		h->domain[d].p2m = NOBODY;
	for (int32_t n = 0; n < w->p2ms; n++)
		init_p2m(h, n);
	for (int32_t i = 0; i < w->holds; i++)
		h->hold[i].cause = w->hold_cause[i];
	return h;
}

/* `cpus`: drift, rows that waited, how long. `buckets`: their width, and then what was counted in each. */
void replay_counts(const struct host *h, int64_t *measures, struct totals *totals, int64_t *modes, int64_t *cpus,
		   struct hold *holds, int64_t *locks, int64_t *buckets)
{
	memcpy(measures, h->measure, (size_t)(h->program->domains * h->program->causes) * sizeof(*h->measure));
	memcpy(holds, h->hold, (size_t)h->program->holds * sizeof(*holds));
	*totals = h->total;
	for (int32_t c = 0; c < h->program->pcpus; c++) {
		memcpy(modes + c * MODES, h->cpu[c].in_mode, sizeof(h->cpu[c].in_mode));
		cpus[3 * c] = h->cpu[c].ended - h->cpu[c].recorded;
		cpus[3 * c + 1] = h->cpu[c].edges_waited;
		cpus[3 * c + 2] = h->cpu[c].edge_wait;
	}
	locks[0] = h->call_lock.held;
	for (int32_t n = 0; n < h->program->p2ms; n++)
		locks[n + 1] = h->p2m[n].lock.held;
	buckets[0] = h->timeline.width;
	memcpy(buckets + 1, h->timeline.bucket, sizeof(h->timeline.bucket));
}

void replay_free(struct host *h)
{
	free(h->cpu);
	free(h->p2m);
	free(h->domain);
	free(h->loaded_on);
	free(h->pool.table);
	free(h->measure);
	free(h->hold);
	free(h);
}
