// Rings, filters and commands.
#include <math.h>
#include <string.h>

#include "myofed/command.h"
#include "myofed/filter.h"
#include "myofed/ring.h"
#include "test.h"

static void test_the_oldest_gives_way(void) {
    uint8_t memory[4];
    myofed_ring_t ring;
    myofed_ring_init(&ring, memory, 1, 4);
    CHECK(myofed_ring_oldest(&ring) == NULL);
    myofed_ring_pop(&ring);  // of nothing: nothing
    for (uint8_t i = 1; i <= 10; i++) {
        *myofed_ring_filling(&ring) = i;
        CHECK(myofed_ring_push(&ring) == (i > 3));
    }
    for (uint8_t i = 8; i <= 10; i++) {
        CHECK(*myofed_ring_oldest(&ring) == i);
        myofed_ring_pop(&ring);
    }
    CHECK(myofed_ring_oldest(&ring) == NULL);
}

void test_rings(void) {
    test_the_oldest_gives_way();
}

// --- Filters ----------------------------------------------------------------------------------------------------

enum { DECIMATION = 4, NUM_TAPS = (int)(20 * DECIMATION + 1) };

static int16_t taps[20 * MYOFED_MAX_DECIMATION + 1];
static int32_t history[2 * (20 * MYOFED_MAX_DECIMATION + 1)];

static void test_taps_add_up_and_are_symmetric(void) {
    for (uint8_t decimation = 2; decimation <= MYOFED_MAX_DECIMATION; decimation++) {
        myofed_decimator_t decimator;
        myofed_decimator_init(&decimator, 1, decimation, taps, history);
        int32_t sum = 0;
        for (size_t i = 0; i < decimator.num_taps; i++) {
            CHECK(taps[i] == taps[decimator.num_taps - 1 - i]);
            sum += taps[i];
        }
        CHECK(sum == 32768);
        CHECK(myofed_decimator_delay(&decimator) == 10u * decimation);
    }
}

static void test_what_stands_still_passes_exactly_from_the_first_sample_on(void) {
    myofed_decimator_t decimator;
    myofed_decimator_init(&decimator, 2, DECIMATION, taps, history);
    const int32_t sample[2] = {(1 << 30) - 1, -(1 << 30)};
    int32_t output[2];
    for (int i = 1; i <= 100; i++) {
        const bool full = myofed_decimator_take(&decimator, sample, output);
        CHECK(full == (i % DECIMATION == 0));
        if (full) {
            CHECK(output[0] == sample[0] && output[1] == sample[1]);
        }
    }
}

static void test_an_impulse_gives_the_taps(void) {
    myofed_decimator_t decimator;
    myofed_decimator_init(&decimator, 1, DECIMATION, taps, history);
    int32_t output;
    for (int i = 0; i < 40 * DECIMATION; i++) {
        const int32_t sample = i == 3 ? 32768 : 0;  // with the fourth sample the first output is due
        if (myofed_decimator_take(&decimator, &sample, &output)) {
            const int age = i - 3;  // of the impulse
            CHECK(output == (age < NUM_TAPS ? taps[age] : 0));
        }
    }
}

// What a sine of amplitude 1 comes out with: √2 × the root mean square of its last second.
static float level(const myofed_biquad_t *filter, float frequency_hz, int sample_rate_hz) {
    myofed_biquad_state_t state = {0, 0};
    float squares = 0;
    for (int i = 0; i < 4 * sample_rate_hz; i++) {
        const float turns = frequency_hz * (float)i / (float)sample_rate_hz;
        const float output = myofed_biquad_run(filter, &state, sinf(6.2831853f * (turns - floorf(turns))));
        squares += i < 3 * sample_rate_hz ? 0 : output * output;
    }
    return sqrtf(2 * squares / (float)sample_rate_hz);
}

static void test_biquads_pass_what_they_should(void) {
    const myofed_biquad_t highpass = myofed_highpass(20, 1000);
    const myofed_biquad_t notch = myofed_notch(50, 30, 1000);
    CHECK(level(&highpass, 2, 1000) < 0.011f);                       // 40 dB a decade
    CHECK(fabsf(level(&highpass, 20, 1000) - 0.7071f) < 0.005f);     // 3 dB at the cutoff
    CHECK(fabsf(level(&highpass, 200, 1000) - 1) < 0.01f);
    CHECK(level(&notch, 50, 1000) < 0.02f);
    CHECK(fabsf(level(&notch, 49.17f, 1000) - 0.7071f) < 0.02f);  // 3 dB
    CHECK(fabsf(level(&notch, 100, 1000) - 1) < 0.02f);
}

static void test_a_settled_biquad_has_no_transient(void) {
    const myofed_biquad_t filters[] = {myofed_highpass(20, 1000), myofed_notch(50, 30, 1000)};
    const float expected[] = {0, 12345};
    for (int f = 0; f < 2; f++) {
        myofed_biquad_state_t state = myofed_biquad_settled(&filters[f], 12345);
        for (int i = 0; i < 1000; i++) {
            CHECK(fabsf(myofed_biquad_run(&filters[f], &state, 12345) - expected[f]) < 0.1f);
        }
    }
}

void test_filters(void) {
    test_taps_add_up_and_are_symmetric();
    test_what_stands_still_passes_exactly_from_the_first_sample_on();
    test_an_impulse_gives_the_taps();
    test_biquads_pass_what_they_should();
    test_a_settled_biquad_has_no_transient();
}

// --- Commands ---------------------------------------------------------------------------------------------------

static myofed_result_t set(void *context, const char *argument, char *answer, size_t capacity) {
    char key[8];
    const char *value = myofed_command_value(argument, key, sizeof key);
    if (value == NULL) {
        myofed_answer(answer, capacity, "expected KEY=VALUE, found '", argument, "'");
        return MYOFED_REFUSED;
    }
    myofed_answer(answer, capacity, key, " is ", value);
    *(int *)context += 1;
    return MYOFED_DONE;
}

static void test_a_table_runs_what_it_knows(void) {
    const myofed_command_t table[] = {{"set", set}};
    char answer[32] = "";
    int times = 0;
    CHECK(myofed_command_run(table, 1, &times, "set", "rate=1000", answer, sizeof answer) == MYOFED_DONE);
    CHECK(strcmp(answer, "rate is 1000") == 0);
    CHECK(myofed_command_run(table, 1, &times, "set", "a=b=c", answer, sizeof answer) == MYOFED_DONE);
    CHECK(strcmp(answer, "a is b=c") == 0);
    CHECK(myofed_command_run(table, 1, &times, "set", "=x", answer, sizeof answer) == MYOFED_REFUSED);
    CHECK(myofed_command_run(table, 1, &times, "set", "muchtoolong=1", answer, sizeof answer) == MYOFED_REFUSED);
    CHECK(strlen(answer) == sizeof answer - 1);
    CHECK(myofed_command_run(table, 1, &times, "sets", "a=b", answer, sizeof answer) == MYOFED_UNKNOWN);
    CHECK(times == 2);
}

static void test_answers_are_cut_at_a_whole_character(void) {
    char answer[6];
    myofed_answer(answer, sizeof answer, "abc", "\xe6\x8b\xb3", "d");
    CHECK(strcmp(answer, "abc") == 0);
    myofed_answer(answer, sizeof answer, "ab", "\xe6\x8b\xb3", "d");
    CHECK(strcmp(answer, "ab\xe6\x8b\xb3") == 0);
}

void test_commands(void) {
    test_a_table_runs_what_it_knows();
    test_answers_are_cut_at_a_whole_character();
}
