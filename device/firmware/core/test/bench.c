// What the core costs: instructions on rv32 (minstret: exact, no cycles), and bytes that every machine must make alike.
//
// Prints `cost NAME NUMBER` (0 where instructions cannot be counted), `bytes NAME SIZE FNV-1a` and `memory NAME
// NUMBER`. Not a CRC of the bytes: over frames that end in their own it would always be the same.
#include <stdio.h>
#include <string.h>

#include "myofed/board.h"
#include "myofed/crc32.h"

static uint32_t instructions(void) {
#if defined(__riscv)
    uint32_t value;
    __asm__ volatile("csrr %0, minstret" : "=r"(value)::"memory");
    return value;
#else
    return 0;
#endif
}

// The cost of a statement, without that of counting.
#define COST(name, statement)                                                               \
    do {                                                                                    \
        const uint32_t start = instructions();                                              \
        const uint32_t middle = instructions();                                             \
        statement;                                                                          \
        report_cost(name, (instructions() - middle) - (middle - start));                    \
    } while (0)

static void report_cost(const char *name, uint32_t cost) {
    printf("cost %s %lu\n", name, (unsigned long)cost);
}

static void report_bytes(const char *name, const uint8_t *bytes, size_t size) {
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ bytes[i]) * 16777619u;
    }
    printf("bytes %s %lu %08lx\n", name, (unsigned long)size, (unsigned long)hash);
}

// Muscle-like counts, the same on every machine: integers only.
static int32_t noise(void) {
    static uint32_t state = 1;
    state = state * 1664525u + 1013904223u;
    return (int32_t)(state >> 18) - 8192;
}

enum { MAX_CHANNELS = 16, MAX_INPUTS = 40 * 8 };

static myofed_board_t board;
static uint32_t memory[MYOFED_BOARD_MEMORY_BYTES(MAX_CHANNELS, 2, 40, 8, 8) / 4];
static int32_t counts[MAX_INPUTS * MAX_CHANNELS];
static uint8_t sent[64 * 1024];
static size_t num_sent;

static bool collect(void *context, myofed_kind_t kind, const uint8_t *payload, size_t size) {
    (void)context, (void)kind;
    if (size > sizeof sent - num_sent) {
        return false;
    }
    memcpy(sent + num_sent, payload, size);
    num_sent += size;
    return true;
}

static void begin(myofed_config_t config) {
    const myofed_hooks_t hooks = {.send = collect};
    config.board_id = "24:6f:28:aa:bb:cc";
    config.firmware = "myofed 0.1.0";
    config.capabilities = "";
    config.sample_bytes = 2;
    config.uv_per_count = 0.1;
    num_sent = 0;
    if (myofed_board_init(&board, &config, &hooks, memory, sizeof memory) != MYOFED_OK) {
        printf("error: the board does not fit\n");
    }
    board.streaming = true;
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        counts[i] = noise();
    }
}

// 20 ms of samples into a finished frame, its CRC included; then its CRC and its COBS alone.
static void cost_of_frame(const char *name, uint8_t channels, uint16_t samples) {
    char label[48];
    begin((myofed_config_t){.num_channels = channels,
                            .decimation = 1,
                            .samples_per_frame = samples,
                            .sample_rate_hz = samples * 50});
    snprintf(label, sizeof label, "frame_%s", name);
    COST(label, myofed_board_take(&board, 0, counts, samples));
    const uint8_t *payload = myofed_ring_oldest(&board.ring);
    const size_t size = MYOFED_SAMPLES_OVERHEAD_BYTES + (size_t)2 * channels * samples;
    snprintf(label, sizeof label, "crc_%s", name);
    volatile uint32_t crc;
    COST(label, crc = myofed_crc32(payload, size));
    (void)crc;
    snprintf(label, sizeof label, "cobs_%s", name);
    volatile size_t stuffed;
    COST(label, stuffed = myofed_stuff(payload, size, sent));
    report_bytes(label, sent, stuffed);
}

// Per output sample of all channels.
static void cost_of_filters(const char *name, myofed_config_t config) {
    char label[48];
    begin(config);
    board.streaming = false;
    const uint32_t num_inputs = 40u * config.decimation;
    myofed_board_take(&board, 0, counts, num_inputs);
    const uint32_t start = instructions();
    myofed_board_take(&board, 0, counts, num_inputs);
    snprintf(label, sizeof label, "filter_%s", name);
    report_cost(label, (instructions() - start) / 40);
    board.streaming = true;
    for (uint64_t block = 0; block < 8; block++) {
        myofed_board_take(&board, 1000000 + 20000 * block, counts, num_inputs);
    }
    myofed_board_poll(&board, 1000000);
    report_bytes(label, sent, num_sent);
}

static void cost_of_commands(void) {
    uint8_t payload[MYOFED_MAX_COMMAND_BYTES];
    uint8_t wire[MYOFED_STUFFED_BYTES(MYOFED_MAX_COMMAND_BYTES) + 1];
    const myofed_frame_t command = {.version = 1,
                                    .kind = MYOFED_COMMAND,
                                    .as.command = {myofed_text("start"), myofed_text("")}};
    size_t size = 0;
    myofed_frame_encode(&command, payload, sizeof payload, &size);
    begin((myofed_config_t){.num_channels = 8, .decimation = 1, .samples_per_frame = 20, .sample_rate_hz = 1000});
    myofed_frame_t frame;
    volatile myofed_err_t error;
    COST("decode_command", error = myofed_frame_decode(payload, size, &frame));
    (void)error;
    size = myofed_stuff(payload, size, wire);
    COST("obey_command", myofed_board_receive_serial(&board, wire, size, 0));
    COST("poll_hello_answer_status", myofed_board_poll(&board, 2000000));
    COST("poll_nothing", myofed_board_poll(&board, 2000001));
    report_bytes("poll", sent, num_sent);
}

int main(void) {
    cost_of_frame("8x1kHz", 8, 20);
    cost_of_frame("16x2kHz", 16, 40);
    myofed_config_t config = {.num_channels = 8, .decimation = 4, .samples_per_frame = 20, .sample_rate_hz = 1000};
    cost_of_filters("8ch_decimate_4", config);
    config.decimation = 8;
    cost_of_filters("8ch_decimate_8", config);
    config.decimation = 1;
    cost_of_filters("8ch_none", config);
    config.highpass_hz = 20;
    config.mains_hz = 50;
    cost_of_filters("8ch_highpass_notch", config);
    cost_of_commands();
    printf("memory board %lu\n", (unsigned long)sizeof(myofed_board_t));
    printf("memory 8x1kHz_decimate_4_32_frames %lu\n", (unsigned long)MYOFED_BOARD_MEMORY_BYTES(8, 2, 20, 4, 32));
    printf("memory 16x2kHz_32_frames %lu\n", (unsigned long)MYOFED_BOARD_MEMORY_BYTES(16, 2, 40, 1, 32));
    return 0;
}
