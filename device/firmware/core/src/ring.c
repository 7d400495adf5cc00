#include "myofed/ring.h"

#include <stddef.h>

void myofed_ring_init(myofed_ring_t *ring, uint8_t *memory, size_t slot_bytes, uint32_t num_slots) {
    *ring = (myofed_ring_t){.memory = memory, .slot_bytes = slot_bytes, .num_slots = num_slots};
}

static uint8_t *slot(const myofed_ring_t *ring, uint32_t ahead) {
    return ring->memory + ring->slot_bytes * ((ring->oldest + ahead) % ring->num_slots);
}

uint8_t *myofed_ring_filling(const myofed_ring_t *ring) {
    return slot(ring, ring->num_full);
}

bool myofed_ring_push(myofed_ring_t *ring) {
    ring->num_full++;
    if (ring->num_full < ring->num_slots) {
        return false;
    }
    myofed_ring_pop(ring);
    return true;
}

uint8_t *myofed_ring_oldest(const myofed_ring_t *ring) {
    return ring->num_full == 0 ? NULL : slot(ring, 0);
}

void myofed_ring_pop(myofed_ring_t *ring) {
    if (ring->num_full > 0) {
        ring->oldest = (ring->oldest + 1) % ring->num_slots;
        ring->num_full--;
    }
}
