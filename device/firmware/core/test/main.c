#include <stdio.h>
#include <stdlib.h>

#include "test.h"

static int num_checks;
static int num_failed;

void check(bool holds, const char *what, const char *file, int line) {
    num_checks++;
    if (!holds) {
        num_failed++;
        printf("%s:%d: %s does not hold\n", file, line, what);
    }
}

uint32_t noise(void) {
    static uint32_t state = 2463534242u;
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

int main(void) {
    test_frames();
    test_lines();
    test_rings();
    test_filters();
    test_commands();
    test_boards();
    test_noise();
    printf("%d checks, %d failed\n", num_checks, num_failed);
    return num_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
