#include "myofed_board/student.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "esp_http_client.h"
#include "freertos/FreeRTOS.h"
#include "freertos/task.h"
#include "hex.h"
#include "network.h"
#include "notice.h"
#include "nvs.h"
#include "settings.h"
#include "settings_store.h"
#include "sha256.h"

#define PARTITION_LABEL "student"
// What marks a student as verified: its size and digest, in one NVS entry, written last.
#define NVS_KEY "student"
#define STACK_BYTES 8192  // TLS takes most of it
#define PRIORITY 3        // below everything that moves samples
#define TIMEOUT_MS 10000
#define MAX_URL_BYTES 190

typedef struct {
    uint32_t size;
    uint8_t sha256[MB_SHA256_BYTES];
} mark_t;

// The one download at a time; owned by its task while `busy`.
static atomic_bool busy;
static char url[MAX_URL_BYTES + 1];
static char *authority;  // PEM, for https
static mark_t wanted;
static uint8_t piece[1024];

static const esp_partition_t *slot(void)
{
    return esp_partition_find_first(ESP_PARTITION_TYPE_DATA, ESP_PARTITION_SUBTYPE_DATA_UNDEFINED, PARTITION_LABEL);
}

static bool read_mark(mark_t *mark)
{
    nvs_handle_t flash;
    if (nvs_open(MB_NVS_NAMESPACE, NVS_READONLY, &flash) != ESP_OK) {
        return false;
    }
    size_t size = sizeof *mark;
    esp_err_t error = nvs_get_blob(flash, NVS_KEY, mark, &size);
    nvs_close(flash);
    return error == ESP_OK && size == sizeof *mark;
}

// NULL: there is no verified student.
static esp_err_t write_mark(const mark_t *mark)
{
    nvs_handle_t flash;
    esp_err_t error = nvs_open(MB_NVS_NAMESPACE, NVS_READWRITE, &flash);
    if (error != ESP_OK) {
        return error;
    }
    error = mark ? nvs_set_blob(flash, NVS_KEY, mark, sizeof *mark) : nvs_erase_key(flash, NVS_KEY);
    if (error == ESP_ERR_NVS_NOT_FOUND) {
        error = ESP_OK;  // none was there to forget
    }
    if (error == ESP_OK) {
        error = nvs_commit(flash);
    }
    nvs_close(flash);
    return error;
}

esp_err_t mb_student_find(const esp_partition_t **partition, size_t *size)
{
    mark_t mark;
    *partition = slot();
    if (!*partition || !read_mark(&mark)) {
        return ESP_ERR_NOT_FOUND;
    }
    *size = mark.size;
    return ESP_OK;
}

static bool holds(const esp_partition_t *partition, const mark_t *mark)
{
    uint8_t digest[MB_SHA256_BYTES];
    return mark->size <= partition->size && mb_sha256_of_partition(partition, mark->size, digest) == ESP_OK &&
           memcmp(digest, mark->sha256, sizeof digest) == 0;
}

void mb_student_check(void)
{
    mark_t mark;
    const esp_partition_t *partition = slot();
    if (partition && read_mark(&mark) && !holds(partition, &mark)) {
        mb_notice(MB_NOTICE_STUDENT, "the student in flash is damaged: download it again");
        write_mark(NULL);
    }
}

// Erase as much as the file needs and fill it; *written: bytes of the file.
static esp_err_t fill(esp_http_client_handle_t client, const esp_partition_t *partition, int64_t length, uint32_t *written)
{
    if (length <= 0 || length > partition->size) {
        return ESP_ERR_INVALID_SIZE;
    }
    uint32_t sector = partition->erase_size;
    esp_err_t error = esp_partition_erase_range(partition, 0, ((uint32_t)length + sector - 1) / sector * sector);
    for (*written = 0; error == ESP_OK && *written < (uint32_t)length;) {
        int n = esp_http_client_read(client, (char *)piece, sizeof piece);
        if (n <= 0 || *written + (uint32_t)n > (uint32_t)length) {
            return ESP_ERR_INVALID_RESPONSE;
        }
        error = esp_partition_write(partition, *written, piece, (size_t)n);
        *written += (uint32_t)n;
    }
    return error;
}

static esp_err_t download(const esp_partition_t *partition)
{
    esp_http_client_config_t config = {.url = url, .cert_pem = authority, .timeout_ms = TIMEOUT_MS};
    esp_http_client_handle_t client = esp_http_client_init(&config);
    if (!client) {
        return ESP_ERR_NO_MEM;
    }
    esp_err_t error = esp_http_client_open(client, 0);
    if (error == ESP_OK) {
        int64_t length = esp_http_client_fetch_headers(client);
        int status = esp_http_client_get_status_code(client);
        error = status == 200 ? fill(client, partition, length, &wanted.size) : ESP_ERR_NOT_FOUND;
    }
    esp_http_client_cleanup(client);
    return error;
}

static void replace_student(const esp_partition_t *partition)
{
    esp_err_t error = write_mark(NULL);  // from here on the old one is gone, whatever happens
    if (error == ESP_OK) {
        error = download(partition);
    }
    if (error != ESP_OK) {
        mb_notice(MB_NOTICE_STUDENT, "no student: the download failed (%s)", esp_err_to_name(error));
    } else if (!holds(partition, &wanted)) {
        mb_notice(MB_NOTICE_STUDENT, "no student: the file has another SHA-256 than named");
    } else if (write_mark(&wanted) != ESP_OK) {
        mb_notice(MB_NOTICE_STUDENT, "no student: the settings' flash is full");
    } else {
        mb_notice(MB_NOTICE_STUDENT, "student verified, %" PRIu32 " bytes", wanted.size);
    }
}

static void download_task(void *partition)
{
    replace_student(partition);
    free(authority);
    atomic_store(&busy, false);
    vTaskDelete(NULL);
}

// Read "URL SHA256" into `url` and `wanted`; only while nothing is busy.
static bool read_argument(const char *argument)
{
    const char *space = strchr(argument, ' ');
    if (!space || strncmp(argument, "http", 4) != 0 || space - argument > MAX_URL_BYTES ||
        !mb_from_hex(space + 1, wanted.sha256, sizeof wanted.sha256)) {
        return false;
    }
    snprintf(url, sizeof url, "%.*s", (int)(space - argument), argument);
    return true;
}

static bool refuse(const char *why, char *answer, size_t capacity)
{
    snprintf(answer, capacity, "%s", why);
    return false;
}

bool mb_student_download(const char *argument, char *answer, size_t capacity)
{
    const esp_partition_t *partition = slot();
    if (!partition) {
        return refuse("the partition table has no `student`: flash it anew", answer, capacity);
    }
    if (!mb_network_is_up()) {
        return refuse("no network: set wifi_ssid and wifi_password, save, restart", answer, capacity);
    }
    if (atomic_exchange(&busy, true)) {
        return refuse("another download is under way", answer, capacity);
    }
    if (!read_argument(argument)) {
        atomic_store(&busy, false);
        return refuse("expected http(s)://… and 64 hexadecimal digits of its SHA-256", answer, capacity);
    }
    authority = mb_setting_copy(MB_CA);
    if (xTaskCreate(download_task, "student", STACK_BYTES, (void *)partition, PRIORITY, NULL) != pdPASS) {
        free(authority);
        atomic_store(&busy, false);
        return refuse("out of memory", answer, capacity);
    }
    mb_notice(MB_NOTICE_STUDENT, "downloading a student");
    snprintf(answer, capacity, "downloading, the status tells how it goes");
    return true;
}
