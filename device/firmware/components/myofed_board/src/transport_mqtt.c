// Frames as MQTT messages, on the topics of protocols/topics.py.
//
// Two queues keep the board's task from waiting: payloads to send go to one worker, which publishes them in turn
// (esp_mqtt_client_enqueue would drain one message a second in ESP-IDF 5.5: esp-mqtt issue 326), and commands that
// came go from the client's event task to the board's.
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "freertos/FreeRTOS.h"
#include "freertos/message_buffer.h"
#include "freertos/task.h"
#include "mqtt_client.h"
#include "myofed/board.h"
#include "myofed_board/transport.h"
#include "notice.h"
#include "settings.h"

#define TOPIC_BYTES (sizeof "myofed//acknowledge" + MYOFED_MAX_BOARD_ID_BYTES + 4)
#define OUT_BYTES 32768
#define IN_BYTES 2048
#define KEEPALIVE_S 10
#define RECONNECT_MS 2000
#define NETWORK_TIMEOUT_MS 5000
#define WORKER_STACK_BYTES 4096
#define WORKER_PRIORITY 8
#define CLIENT_STACK_BYTES 8192  // TLS takes most of it

// The last level of a kind's topic, and how it is published; what is not here is never sent.
static const struct {
    const char *level;
    int qos, retained;
} deliveries[MYOFED_NUM_KINDS + 1] = {
    [MYOFED_HELLO] = {"hello", 1, 1},
    [MYOFED_SAMPLES] = {"samples", 0, 0},
    [MYOFED_STATUS] = {"status", 1, 1},
    [MYOFED_ACKNOWLEDGE] = {"acknowledge", 1, 0},
    [MYOFED_MARKER] = {"marker", 1, 0},
};

static esp_mqtt_client_handle_t client;
static const char *board;  // id
static char *uri, *user, *password, *authority, will_topic[TOPIC_BYTES];
static MessageBufferHandle_t outgoing, incoming;
static uint8_t *leaving;  // the worker's
static size_t leaving_capacity;
static atomic_bool is_connected, is_new;

static void topic_of(const char *level, char *topic)
{
    snprintf(topic, TOPIC_BYTES, "myofed/%s/%s", board, level);
}

static void publish_forever(void *context)
{
    (void)context;
    char topic[TOPIC_BYTES];
    for (;;) {
        size_t size = xMessageBufferReceive(outgoing, leaving, leaving_capacity, portMAX_DELAY);
        uint8_t kind = size > 1 ? leaving[1] : 0;
        if (kind > MYOFED_NUM_KINDS || !deliveries[kind].level || !atomic_load(&is_connected)) {
            continue;
        }
        topic_of(deliveries[kind].level, topic);
        esp_mqtt_client_publish(client, topic, (const char *)leaving, (int)size, deliveries[kind].qos,
                                deliveries[kind].retained);
    }
}

static void on_connected(void)
{
    char topic[TOPIC_BYTES];
    topic_of("command", topic);
    esp_mqtt_client_subscribe_single(client, topic, 1);
    topic_of("availability", topic);
    esp_mqtt_client_publish(client, topic, "online", 0, 1, 1);
    atomic_store(&is_connected, true);
    atomic_store(&is_new, true);
    mb_notice(MB_NOTICE_NETWORK, "%s", "");
}

static void on_error(const esp_mqtt_event_t *event)
{
    const esp_mqtt_error_codes_t *error = event->error_handle;
    if (error->error_type == MQTT_ERROR_TYPE_CONNECTION_REFUSED) {
        mb_notice(MB_NOTICE_NETWORK, "broker refused (code %d): check mqtt_user and mqtt_password",
                  (int)error->connect_return_code);
    } else {
        mb_notice(MB_NOTICE_NETWORK, "broker not reached: check mqtt_uri%s",
                  error->esp_tls_cert_verify_flags ? " and ca" : "");
    }
}

static void on_mqtt(void *context, esp_event_base_t base, int32_t id, void *data)
{
    (void)context, (void)base;
    const esp_mqtt_event_t *event = data;
    if (id == MQTT_EVENT_CONNECTED) {
        on_connected();
    } else if (id == MQTT_EVENT_DISCONNECTED) {
        atomic_store(&is_connected, false);
    } else if (id == MQTT_EVENT_ERROR) {
        on_error(event);
    } else if (id == MQTT_EVENT_DATA && event->data_len == event->total_data_len && !event->retain) {
        // Commands fit into the client's buffer whole; one that was retained by mistake would run at every start.
        xMessageBufferSend(incoming, event->data, (size_t)event->data_len, 0);
    }
}

static esp_err_t make_client(void)
{
    topic_of("availability", will_topic);
    esp_mqtt_client_config_t config = {
        .broker = {.address.uri = uri, .verification.certificate = authority},
        .credentials = {.username = user, .client_id = board, .authentication.password = password},
        .session = {.last_will = {.topic = will_topic, .msg = "offline", .qos = 1, .retain = 1},
                    .keepalive = KEEPALIVE_S},
        .network = {.reconnect_timeout_ms = RECONNECT_MS, .timeout_ms = NETWORK_TIMEOUT_MS},
        .task.stack_size = CLIENT_STACK_BYTES,
        .buffer = {.size = 1024, .out_size = 4096},
    };
    client = esp_mqtt_client_init(&config);
    if (!client) {
        return ESP_ERR_INVALID_ARG;
    }
    esp_err_t error = esp_mqtt_client_register_event(client, ESP_EVENT_ANY_ID, on_mqtt, NULL);
    return error == ESP_OK ? esp_mqtt_client_start(client) : error;
}

static esp_err_t mqtt_open(const char *board_id, size_t max_payload_bytes)
{
    board = board_id;
    uri = mb_setting_copy(MB_MQTT_URI);
    user = mb_setting_copy(MB_MQTT_USER);
    password = mb_setting_copy(MB_MQTT_PASSWORD);
    authority = mb_setting_copy(MB_CA);
    leaving_capacity = max_payload_bytes;
    leaving = malloc(max_payload_bytes);
    outgoing = xMessageBufferCreate(OUT_BYTES);
    incoming = xMessageBufferCreate(IN_BYTES);
    if (!uri || !leaving || !outgoing || !incoming) {
        mb_notice(MB_NOTICE_NETWORK, "%s", uri ? "out of memory" : "set mqtt_uri, save, restart");
        return uri ? ESP_ERR_NO_MEM : ESP_ERR_INVALID_STATE;
    }
    if (!authority && strncmp(uri, "mqtts", 5) == 0) {  // ESP-TLS would refuse, and not say why
        mb_notice(MB_NOTICE_NETWORK, "mqtts needs the broker's ca: set ca, save, restart");
        return ESP_ERR_INVALID_STATE;
    }
    esp_err_t error = make_client();
    if (error != ESP_OK) {
        mb_notice(MB_NOTICE_NETWORK, "mqtt_uri is none: expected mqtt(s)://HOST:PORT");
        return error;
    }
    bool has_worker =
        xTaskCreate(publish_forever, "mqtt-out", WORKER_STACK_BYTES, NULL, WORKER_PRIORITY, NULL) == pdPASS;
    return has_worker ? ESP_OK : ESP_ERR_NO_MEM;
}

static size_t mqtt_receive(uint8_t *bytes, size_t capacity)
{
    return xMessageBufferReceive(incoming, bytes, capacity, 0);
}

// Without a connection samples stay in the core's ring, where the oldest gives way, and all else is dropped: a new
// connection begins with a hello and a status.
static bool mqtt_send(const uint8_t *payload, size_t size)
{
    if (!atomic_load(&is_connected)) {
        return payload[1] != MYOFED_SAMPLES;
    }
    return xMessageBufferSend(outgoing, payload, size, 0) == size;
}

static bool mqtt_greet(void)
{
    return atomic_exchange(&is_new, false);
}

const mb_transport_t mb_mqtt = {
    .name = "mqtt", .is_stream = false, .open = mqtt_open, .receive = mqtt_receive, .send = mqtt_send, .greet = mqtt_greet};
