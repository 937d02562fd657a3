/*
 * EPT tables as ept_set_entry() changes them: four levels of 512 entries, without marks (no row of the mix makes any).
 *
 * A leaf has the type in bits 8 to 13, its frame from bit 14 on; a table, from bit 14 on, its number.
 */
#ifndef EPT_H
#define EPT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#define LEVELS 4
#define ENTRIES 512
#define E_USED UINT64_C(0x01)
#define E_LEAF UINT64_C(0x02)
#define E_PRESENT UINT64_C(0x80)
#define TYPE_SHIFT 8
#define FRAME_SHIFT 16
#define RAM_RW 0
#define GFN_MASK ((INT64_C(1) << 36) - 1)

struct table {
	uint64_t entry[ENTRIES];
};

/*
 * Tables by number. Those that were freed are linked by their first entries, 0 being none, as it is a root. Where there
 * is no room, all new tables are the one behind the others, and `full` says so.
 */
struct pool {
	struct table *table;
	uint32_t used, room, free;
	bool full;
};

/* What a write did: entries stored while live, entries built in tables that were not linked yet. */
struct written {
	uint32_t stores, built;
	bool split, freed;
};

static inline unsigned int index_of(int64_t gfn, int level)
{
	return (unsigned int)(gfn >> 9 * level) & (ENTRIES - 1);
}

static inline bool is_table(uint64_t entry)
{
	return (entry & (E_USED | E_LEAF)) == E_USED;
}

static inline struct table *table_at(const struct pool *pool, uint64_t entry)
{
	return &pool->table[entry >> FRAME_SHIFT];
}

/* Return the entry of a new, empty table. */
static uint64_t new_table(struct pool *pool)
{
	uint32_t number = pool->free;

	if (number) {
		pool->free = (uint32_t)pool->table[number].entry[0];
		pool->table[number] = (struct table){ { 0 } };
	} else if (pool->used < pool->room) {
		number = pool->used++;
	} else {
		number = pool->room;
		pool->full = true;
	}
	return (uint64_t)number << FRAME_SHIFT | E_USED;
}

static void free_tables(struct pool *pool, uint64_t entry)
{
	uint32_t number = (uint32_t)(entry >> FRAME_SHIFT);
	struct table *table = table_at(pool, entry);

	for (unsigned int i = 0; i < ENTRIES; i++)
		if (is_table(table->entry[i]))
			free_tables(pool, table->entry[i]);
	table->entry[0] = pool->free;
	pool->free = number;
}

/* Build the tree of leaves of level `target` that maps what a leaf of `level` does; returns how many entries it has. */
static uint32_t split_leaf(struct pool *pool, uint64_t *at, int level, int target)
{
	uint64_t old = *at, step = UINT64_C(1) << (FRAME_SHIFT + 9 * (level - 1)), made = new_table(pool);
	struct table *table = table_at(pool, made);
	uint32_t built = ENTRIES;

	for (unsigned int i = 0; i < ENTRIES; i++) {
		table->entry[i] = old + i * step;
		if (level - 1 > target)
			built += split_leaf(pool, &table->entry[i], level - 1, target);
	}
	*at = made;
	return built;
}

/*
 * Enter what a row tells of an entry before it is written: in a p2m that was there before the recording, or where the
 * entry was present, the tables on the way are there, and what was present is a leaf.
 */
static void enter_evidence(struct pool *pool, uint32_t root, int64_t gfn, int level, bool unknown, bool present,
			   int old_type)
{
	struct table *table = &pool->table[root];

	for (int above = LEVELS - 1; above > level; above--) {
		uint64_t *entry = &table->entry[index_of(gfn, above)];

		if (*entry & E_LEAF)
			return;
		if (!*entry) {
			if (!unknown && !present)
				return;
			*entry = new_table(pool);
		}
		table = table_at(pool, *entry);
	}
	if (present && !table->entry[index_of(gfn, level)])
		table->entry[index_of(gfn, level)] =
			(uint64_t)(old_type < 0 ? RAM_RW : old_type) << TYPE_SHIFT | E_PRESENT | E_LEAF | E_USED;
}

/* Write an entry: link what is missing on the way, split a larger leaf, free the tables that it replaces. */
static inline struct written write_entry(struct pool *pool, uint32_t root, int64_t gfn, int level, uint64_t value)
{
	struct written done = { .stores = 1 };
	struct table *table = &pool->table[root];
	uint64_t *entry;

	for (int above = LEVELS - 1; above > level; above--) {
		entry = &table->entry[index_of(gfn, above)];
		if (!is_table(*entry)) {
			if (*entry) {
				done.built += split_leaf(pool, entry, above, level);
				done.split = true;
			} else {
				*entry = new_table(pool);
			}
			done.stores++;
		}
		table = table_at(pool, *entry);
	}
	entry = &table->entry[index_of(gfn, level)];
	if (is_table(*entry)) {
		free_tables(pool, *entry);
		done.freed = true;
	}
	*entry = value;
	return done;
}

#endif
