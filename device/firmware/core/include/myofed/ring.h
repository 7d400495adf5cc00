// A ring of equal slots in memory that its owner gives: filled at one end, emptied at the other, by one task.
// When it is full, the oldest slot gives way: what is late anyway costs nothing that is new.
#ifndef MYOFED_RING_H
#define MYOFED_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    uint8_t *memory;
    size_t slot_bytes;
    uint32_t num_slots;  // at least 2: one is always being filled
    uint32_t oldest;
    uint32_t num_full;
} myofed_ring_t;

void myofed_ring_init(myofed_ring_t *ring, uint8_t *memory, size_t slot_bytes, uint32_t num_slots);

// The slot to fill now.
uint8_t *myofed_ring_filling(const myofed_ring_t *ring);

// It is full: go on with the next. True: the oldest full slot was dropped for it.
bool myofed_ring_push(myofed_ring_t *ring);

// The oldest full slot, or NULL.
uint8_t *myofed_ring_oldest(const myofed_ring_t *ring);

// The oldest full slot is done with.
void myofed_ring_pop(myofed_ring_t *ring);

#ifdef __cplusplus
}
#endif
#endif
