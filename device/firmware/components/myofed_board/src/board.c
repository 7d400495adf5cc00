// One task owns the core: it takes counts from the converter, bytes from the lines, and lets the core send. All
// else (interrupts, Wi-Fi, MQTT, downloads) reaches it through queues.
#include "myofed_board/board.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "esp_app_desc.h"
#include "esp_log.h"
#include "esp_mac.h"
#include "esp_ota_ops.h"
#include "esp_system.h"
#include "esp_task_wdt.h"
#include "esp_timer.h"
#include "freertos/FreeRTOS.h"
#include "freertos/task.h"
#include "myofed/board.h"
#include "myofed_board/acquisition.h"
#include "myofed_board/student.h"
#include "myofed_board/transport.h"
#include "network.h"
#include "notice.h"
#include "rate.h"
#include "settings.h"
#include "settings_store.h"

#define STACK_BYTES 8192
#define PRIORITY 15
#define TURN_MS 5              // the longest wait for samples, so for commands too
#define MEASURE_US 1000000     // how long the rate is measured before the first hello
#define RING_MS 1000           // of samples that may wait for the line
#define RING_BYTES 48000       // and at most so many bytes
#define FRAME_MS 20
#define MQTT_FRAME_MS 50       // fewer, larger messages
#define OUTPUT_TOLERANCE 1e-3  // declared and measured rate may differ so much before the measured one is declared
#define CHUNK_BYTES 1024

static myofed_board_t board;
static mb_signal_t wired;
static bool is_converting;
static mb_rate_t rate;
static double lost;  // samples at the rate that is sent, less than one at a time

// The two lines. A command is answered where it came from, samples go where `start` came from, a status to both.
static const mb_transport_t *const lines[] = {&mb_serial, &mb_mqtt};
enum { SERIAL, MQTT, NUM_LINES };
static bool is_open[NUM_LINES];
static int speaking, answering, streaming;

static bool send(void *context, myofed_kind_t kind, const uint8_t *payload, size_t size)
{
    (void)context;
    int line = kind == MYOFED_HELLO || kind == MYOFED_ACKNOWLEDGE ? answering : streaming, other = 1 - line;
    if (kind == MYOFED_STATUS && is_open[other]) {
        lines[other]->send(payload, size);  // as far as it has room: somebody may wait there for `wifi_ssid` to work
    }
    return is_open[line] && lines[line]->send(payload, size);
}

static myofed_result_t command(void *context, const char *name, const char *argument, char *answer, size_t capacity)
{
    (void)context;
    answering = speaking;
    if (strcmp(name, "start") == 0) {
        streaming = speaking;  // also without a converter: so the gateway can read why in the status
    }
    return mb_command(name, argument, answer, capacity);
}

static void receive(int64_t now_us)
{
    static uint8_t chunk[CHUNK_BYTES];
    for (int line = 0; line < NUM_LINES; line++) {
        if (!is_open[line]) {
            continue;
        }
        speaking = line;
        if (lines[line]->greet()) {
            answering = line;
            myofed_board_announce(&board);
        }
        size_t size = lines[line]->receive(chunk, sizeof chunk);
        if (size > 0 && lines[line]->is_stream) {
            myofed_board_receive_serial(&board, chunk, size, (uint64_t)now_us);
        } else if (size > 0) {
            myofed_board_receive(&board, chunk, size, (uint64_t)now_us);
        }
    }
}

// Input samples were lost: whole ones at the output rate are counted, the rest waits for more.
static void lose(uint32_t num_input)
{
    lost += (double)num_input / wired.decimation;
    double whole = floor(lost);
    if (whole >= 1) {
        myofed_board_lose(&board, (uint32_t)whole);
        lost -= whole;
    }
}

static void take(void)
{
    mb_block_t block;
    if (!is_converting) {
        vTaskDelay(pdMS_TO_TICKS(TURN_MS));
    } else if (mb_acquisition.read(&block, TURN_MS) == ESP_OK) {
        if (block.num_lost && board.num_samples) {  // what overran while Wi-Fi started belongs to nobody
            lose(block.num_lost);
        }
        myofed_board_take(&board, block.time_us, block.counts, block.num_samples);
    }
}

static void report(void)
{
    static char message[MYOFED_MAX_TEXT_BYTES + 1];
    if (mb_notices(message, sizeof message)) {
        myofed_board_report(&board, 0, message);
    }
}

static const char *board_id(void)
{
    static char made[] = "emg-0123456789ab";
    char *chosen = mb_setting_copy(MB_BOARD_ID);
    uint8_t mac[6];
    if (!chosen && esp_efuse_mac_get_default(mac) == ESP_OK) {
        snprintf(made, sizeof made, "emg-%02x%02x%02x%02x%02x%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
    }
    return chosen ? chosen : made;
}

// The converter as the settings wish; without one the board still answers, and says why.
static void open_converter(void)
{
    char problem[MB_NOTICE_BYTES] = "";
    wired.num_channels = (uint8_t)mb_setting_number(MB_CHANNELS);
    wired.sample_rate_hz = (double)mb_setting_number(MB_RATE);
    wired.gain = (uint32_t)mb_setting_number(MB_GAIN);
    is_converting = mb_acquisition.open(&wired, problem, sizeof problem) == ESP_OK;
    if (!is_converting) {
        mb_notice(MB_NOTICE_SIGNAL, "%s", *problem ? problem : "the converter does not start: out of memory");
        wired = (mb_signal_t){.num_channels = 1, .sample_rate_hz = 1000, .decimation = 1, .sample_bytes = 2, .uv_per_count = 1};
    }
}

// What is declared is what this board measures: the ADC of an ESP32 is some percent off its configured rate.
static void measure_rate(void)
{
    int64_t until_us = esp_timer_get_time() + 2 * MEASURE_US;
    mb_block_t block;
    while (is_converting && mb_rate_span_us(&rate) < MEASURE_US && esp_timer_get_time() < until_us) {
        if (mb_acquisition.read(&block, TURN_MS) == ESP_OK) {
            mb_rate_add(&rate, block.time_us, block.num_samples, block.num_lost);
        }
        esp_task_wdt_reset();
    }
    double measured_hz = mb_rate_hz(&rate) / wired.decimation;
    if (is_converting && measured_hz <= 0) {
        mb_notice(MB_NOTICE_SIGNAL, "%s gives no samples: check its wires", mb_acquisition.name);
    } else if (is_converting && fabs(measured_hz / wired.sample_rate_hz - 1) > OUTPUT_TOLERANCE) {
        wired.sample_rate_hz = measured_hz;
    }
}

static const char *firmware(void)
{
    static char name[MYOFED_MAX_TEXT_BYTES + 1];
    const esp_app_desc_t *app = esp_app_get_description();
    snprintf(name, sizeof name, "%s %s (ESP-IDF %s)", app->project_name, app->version, app->idf_ver);
    return name;
}

static myofed_config_t configure(bool by_mqtt)
{
    long frame_ms = mb_setting_number(MB_FRAME_MS);
    double samples = wired.sample_rate_hz * (frame_ms ? frame_ms : by_mqtt ? MQTT_FRAME_MS : FRAME_MS) / 1000;
    return (myofed_config_t){
        .board_id = board_id(),
        .firmware = firmware(),
        .capabilities = MB_CAPABILITIES,
        .num_channels = wired.num_channels,
        .sample_bytes = wired.sample_bytes,
        .decimation = wired.decimation,
        .samples_per_frame = (uint16_t)(samples < 1 ? 1 : lround(samples)),
        .sample_rate_hz = wired.sample_rate_hz,
        .uv_per_count = wired.uv_per_count,
        .highpass_hz = (float)mb_setting_number(MB_HIGHPASS),
        .mains_hz = (float)mb_setting_number(MB_MAINS),
    };
}

// Settings that do not go together never keep a board from starting: it says so, and goes without them.
static void make_valid(myofed_config_t *config)
{
    const char *problem = myofed_config_problem(config);
    if (problem) {
        mb_notice(MB_NOTICE_SIGNAL, "settings left out: %s", problem);
        config->highpass_hz = config->mains_hz = 0;
        config->samples_per_frame = (uint16_t)(1 + config->sample_rate_hz * FRAME_MS / 1000);
    }
}

// Memory for a second of frames, or as much of it as there is.
static void *allocate(const myofed_config_t *config, size_t *size)
{
    size_t slot = MYOFED_SLOT_BYTES(config->num_channels, config->sample_bytes, config->samples_per_frame);
    size_t frames = (size_t)(config->sample_rate_hz * RING_MS / 1000 / config->samples_per_frame) + 2;
    void *memory = NULL;
    frames = frames * slot > RING_BYTES ? RING_BYTES / slot : frames;
    for (; !memory && frames > 1; frames /= 2) {
        *size = MYOFED_BOARD_MEMORY_BYTES(config->num_channels, config->sample_bytes, config->samples_per_frame,
                                          config->decimation, frames);
        memory = malloc(*size);
    }
    return memory;
}

static void open_lines(const myofed_config_t *config, bool by_mqtt)
{
    size_t slot = MYOFED_SLOT_BYTES(config->num_channels, config->sample_bytes, config->samples_per_frame);
    size_t longest = slot > MYOFED_MAX_HELLO_BYTES ? slot : MYOFED_MAX_HELLO_BYTES;
    is_open[SERIAL] = mb_serial.open(config->board_id, longest) == ESP_OK;
    if (mb_network_start() != ESP_OK) {
        mb_notice(MB_NOTICE_NETWORK, "Wi-Fi does not start");
    } else if (by_mqtt) {
        is_open[MQTT] = mb_mqtt.open(config->board_id, longest) == ESP_OK;
    }
    answering = streaming = is_open[MQTT] ? MQTT : SERIAL;
}

static void say_why_restarted(void)
{
    esp_reset_reason_t reason = esp_reset_reason();
    if (reason == ESP_RST_BROWNOUT) {
        mb_notice(MB_NOTICE_POWER, "restarted by a brown-out: use a stronger supply or a shorter cable");
    } else if (reason == ESP_RST_TASK_WDT || reason == ESP_RST_INT_WDT || reason == ESP_RST_PANIC) {
        mb_notice(MB_NOTICE_POWER, "restarted after a crash (reset reason %d)", (int)reason);
    }
}

static void set_up(void)
{
    if (mb_settings_load() != ESP_OK) {
        mb_notice(MB_NOTICE_POWER, "settings cannot be read: flash the board anew");
    }
    say_why_restarted();
    mb_student_check();
    bool by_mqtt = strcmp(mb_setting_text(MB_TRANSPORT), "mqtt") == 0;
    open_converter();
    measure_rate();
    static myofed_config_t config;
    config = configure(by_mqtt);
    make_valid(&config);
    size_t size = 0;
    void *memory = allocate(&config, &size);  // before Wi-Fi and TLS take theirs
    open_lines(&config, by_mqtt);
    static const myofed_hooks_t hooks = {.send = send, .command = command};
    if (!memory || myofed_board_init(&board, &config, &hooks, memory, size) != MYOFED_OK) {
        // Nothing can be framed, so nothing can be said but on the console.
        const char *problem = myofed_config_problem(&config);
        ESP_LOGE("myofed", "%s", problem ? problem : "out of memory");
        abort();
    }
}

static void run(void *context)
{
    (void)context;
    esp_task_wdt_add(NULL);
    set_up();
    esp_ota_mark_app_valid_cancel_rollback();  // it got this far: a new firmware may stay
    for (;;) {
        int64_t now_us = esp_timer_get_time();
        take();
        receive(now_us);
        report();
        myofed_board_poll(&board, (uint64_t)esp_timer_get_time());
        mb_commands_poll(now_us);
        esp_task_wdt_reset();
    }
}

void mb_board_start(void)
{
    // The second core, where there is one: Wi-Fi keeps the first.
    xTaskCreatePinnedToCore(run, "board", STACK_BYTES, NULL, PRIORITY, NULL, portNUM_PROCESSORS - 1);
}
