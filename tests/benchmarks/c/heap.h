/*
 * Whose turn it is: a binary heap of pCPUs by (time, number), each of them in it once.
 *
 * A key is a time in the high bits and the pCPU in the low ones, so that one comparison orders both.
 */
#ifndef HEAP_H
#define HEAP_H

#include <stdint.h>
#include <stdlib.h>

#define PCPU_BITS 10
#define MAX_PCPUS (1 << PCPU_BITS)
#define NEVER (INT64_C(1) << 52)

struct heap {
	uint32_t size;
	uint64_t key[MAX_PCPUS];
	uint16_t place[MAX_PCPUS];
};

static inline uint64_t heap_key(int64_t time, uint32_t cpu)
{
	return (uint64_t)time << PCPU_BITS | cpu;
}

static inline int64_t heap_time(uint64_t key)
{
	return (int64_t)(key >> PCPU_BITS);
}

static inline uint32_t heap_cpu(uint64_t key)
{
	return key & (MAX_PCPUS - 1);
}

static inline void heap_put(struct heap *heap, uint32_t at, uint64_t key)
{
	heap->key[at] = key;
	heap->place[heap_cpu(key)] = (uint16_t)at;
}

static inline void heap_rise(struct heap *heap, uint32_t at, uint64_t key)
{
	while (at > 0) {
		uint32_t above = (at - 1) >> 1;

		if (heap->key[above] <= key)
			break;
		heap_put(heap, at, heap->key[above]);
		at = above;
	}
	heap_put(heap, at, key);
}

static inline void heap_sink(struct heap *heap, uint32_t at, uint64_t key)
{
	for (;;) {
		uint32_t below = 2 * at + 1;

		if (below >= heap->size)
			break;
		if (below + 1 < heap->size)
			below += heap->key[below + 1] < heap->key[below];
		if (key <= heap->key[below])
			break;
		heap_put(heap, at, heap->key[below]);
		at = below;
	}
	heap_put(heap, at, key);
}

/* Enter when a pCPU has something to do next. */
static inline void heap_set(struct heap *heap, uint32_t cpu, int64_t time)
{
	uint32_t at = heap->place[cpu];
	uint64_t key = heap_key(time, cpu), old = heap->key[at];

	if (key < old)
		heap_rise(heap, at, key);
	else if (key > old)
		heap_sink(heap, at, key);
}

static inline void heap_init(struct heap *heap, uint32_t pcpus)
{
	heap->size = pcpus;
	for (uint32_t cpu = 0; cpu < pcpus; cpu++)
		heap_put(heap, cpu, heap_key(NEVER, cpu));
}

#endif
