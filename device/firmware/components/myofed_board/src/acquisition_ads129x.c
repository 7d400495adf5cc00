// Counts from one ADS1298 or ADS1299, or two in a daisy chain: each DRDY edge is stamped in its interrupt, a task of
// its own fetches the data within the sample's time, the board's task takes them in batches.
#include "sdkconfig.h"

#ifndef CONFIG_MYOFED_FRONT_END_ADC

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ads129x.h"
#include "driver/gpio.h"
#include "driver/spi_master.h"
#include "esp_attr.h"
#include "esp_heap_caps.h"
#include "esp_timer.h"
#include "freertos/FreeRTOS.h"
#include "freertos/queue.h"
#include "freertos/task.h"
#include "myofed_board/acquisition.h"

#ifdef CONFIG_MYOFED_FRONT_END_ADS1298
#define CHIP MB_ADS1298
#define CHIP_NAME "ADS1298"
#define DEFAULT_GAIN 12
#else
#define CHIP MB_ADS1299
#define CHIP_NAME "ADS1299"
#define DEFAULT_GAIN 24
#endif

#define DEVICES CONFIG_MYOFED_ADS_DEVICES
#define DEFAULT_RATE_HZ 2000
// A byte takes 2 us at 4 MHz: as long as the chip needs to decode one (4 cycles of its 2.048 MHz clock).
#define SPI_HZ 4000000
// Whole words: the DMA then writes in place. The chip ignores the clocks beyond its data.
#define FETCH_BYTES ((DEVICES * MB_ADS_FRAME_BYTES + 3) / 4 * 4)
#define POWER_UP_MS 150  // 2^18 cycles of the chip's clock
#define RESET_MS 1       // 18 cycles
#define QUEUE_SAMPLES 256
#define BLOCK_SAMPLES 32
#define READER_PRIORITY 20
#define READER_STACK_BYTES 3072

typedef struct {
    uint32_t number;  // of the DRDY edge
    int64_t time_us;
    int32_t counts[MB_MAX_CHANNELS];
} sample_t;

static spi_device_handle_t spi;
static uint8_t *frame;  // DMA memory for the data of all devices
static QueueHandle_t samples;
static TaskHandle_t reader;
static uint8_t num_channels;
static sample_t held;  // read from the queue, but behind a gap: it begins the next block
static bool is_held;
static uint32_t next_number;
static int32_t counts[BLOCK_SAMPLES * MB_MAX_CHANNELS];

static struct {
    portMUX_TYPE lock;
    uint32_t num_edges;
    int64_t time_us;
} drdy = {.lock = portMUX_INITIALIZER_UNLOCKED};

static void IRAM_ATTR on_drdy(void *context)
{
    (void)context;
    BaseType_t woken = pdFALSE;
    portENTER_CRITICAL_ISR(&drdy.lock);
    drdy.num_edges++;
    drdy.time_us = esp_timer_get_time();
    portEXIT_CRITICAL_ISR(&drdy.lock);
    vTaskNotifyGiveFromISR(reader, &woken);
    portYIELD_FROM_ISR(woken);
}

// Both directions at once; at most 4 bytes.
static esp_err_t transfer(const uint8_t *out, uint8_t *in, size_t size)
{
    spi_transaction_t transaction = {.flags = SPI_TRANS_USE_TXDATA | SPI_TRANS_USE_RXDATA, .length = 8 * size};
    memcpy(transaction.tx_data, out, size);
    esp_err_t error = spi_device_polling_transmit(spi, &transaction);
    memcpy(in, transaction.rx_data, size);
    return error;
}

static esp_err_t command(uint8_t opcode)
{
    uint8_t in;
    return transfer(&opcode, &in, 1);
}

static esp_err_t read_register(uint8_t address, uint8_t *value)
{
    uint8_t out[3] = {(uint8_t)(MB_ADS_RREG | address), 0, 0}, in[3];
    esp_err_t error = transfer(out, in, sizeof out);
    *value = in[2];
    return error;
}

// Write a register and see that it holds: of a chain, only the first device is heard.
static esp_err_t write_register(mb_ads_register_t entry)
{
    uint8_t out[3] = {(uint8_t)(MB_ADS_WREG | entry.address), 0, entry.value}, in[3], value = 0;
    esp_err_t error = transfer(out, in, sizeof out);
    if (error == ESP_OK) {
        error = read_register(entry.address, &value);
    }
    return error == ESP_OK && value != entry.value ? ESP_ERR_INVALID_RESPONSE : error;
}

static esp_err_t fetch(void)
{
    spi_transaction_t transaction = {.length = 8 * FETCH_BYTES, .rx_buffer = frame};
    return spi_device_polling_transmit(spi, &transaction);
}

// Fetch the data of each edge before the next; edges that came in between are missing numbers.
static void read_forever(void *context)
{
    (void)context;
    ulTaskNotifyTake(pdTRUE, portMAX_DELAY);     // the chip is set up by now
    spi_device_acquire_bus(spi, portMAX_DELAY);  // nobody else is on it: saves a lock for each sample
    for (;;) {
        ulTaskNotifyTake(pdTRUE, portMAX_DELAY);
        sample_t sample;
        portENTER_CRITICAL(&drdy.lock);
        sample.number = drdy.num_edges;
        sample.time_us = drdy.time_us;
        portEXIT_CRITICAL(&drdy.lock);
        if (fetch() == ESP_OK && mb_ads_parse(frame, DEVICES, num_channels, sample.counts)) {
            xQueueSend(samples, &sample, 0);  // full: the number is missing
        }
    }
}

static esp_err_t open_bus(void)
{
    spi_bus_config_t bus = {
        .mosi_io_num = CONFIG_MYOFED_SPI_MOSI_GPIO,
        .miso_io_num = CONFIG_MYOFED_SPI_MISO_GPIO,
        .sclk_io_num = CONFIG_MYOFED_SPI_SCLK_GPIO,
        .quadwp_io_num = -1,
        .quadhd_io_num = -1,
        .max_transfer_sz = FETCH_BYTES,
    };
    spi_device_interface_config_t device = {
        .mode = 1, .clock_speed_hz = SPI_HZ, .spics_io_num = CONFIG_MYOFED_SPI_CS_GPIO, .queue_size = 1};
    frame = heap_caps_malloc(FETCH_BYTES, MALLOC_CAP_DMA);
    samples = xQueueCreate(QUEUE_SAMPLES, sizeof(sample_t));
    if (!frame || !samples) {
        return ESP_ERR_NO_MEM;
    }
    esp_err_t error = spi_bus_initialize(SPI2_HOST, &bus, SPI_DMA_CH_AUTO);
    return error == ESP_OK ? spi_bus_add_device(SPI2_HOST, &device, &spi) : error;
}

static esp_err_t reset_chip(void)
{
    gpio_config_t pin = {.pin_bit_mask = 1ull << CONFIG_MYOFED_ADS_RESET_GPIO, .mode = GPIO_MODE_OUTPUT};
    esp_err_t error = gpio_config(&pin);
    if (error != ESP_OK) {
        return error;
    }
    gpio_set_level(CONFIG_MYOFED_ADS_RESET_GPIO, 1);
    vTaskDelay(pdMS_TO_TICKS(POWER_UP_MS));
    gpio_set_level(CONFIG_MYOFED_ADS_RESET_GPIO, 0);
    vTaskDelay(pdMS_TO_TICKS(RESET_MS) + 1);
    gpio_set_level(CONFIG_MYOFED_ADS_RESET_GPIO, 1);
    vTaskDelay(pdMS_TO_TICKS(RESET_MS) + 1);
    return command(MB_ADS_SDATAC);  // registers are deaf in continuous mode, which a reset begins with
}

static esp_err_t set_up_chip(const mb_ads_setup_t *setup, char *problem, size_t capacity)
{
    mb_ads_register_t registers[MB_ADS_NUM_REGISTERS];
    if (!mb_ads_registers(setup, registers)) {
        snprintf(problem, capacity, CHIP_NAME " has no rate of %" PRIu32 " Hz or no gain of %" PRIu32,
                 setup->sample_rate_hz, setup->gain);
        return ESP_ERR_INVALID_ARG;
    }
    uint8_t id = 0;
    esp_err_t error = reset_chip();
    if (error == ESP_OK) {
        error = read_register(0, &id);
    }
    if (error != ESP_OK || !mb_ads_is_chip(CHIP, id)) {
        snprintf(problem, capacity, "no " CHIP_NAME " answers (ID %02x): check its supply and SPI wires", id);
        return ESP_ERR_NOT_FOUND;
    }
    for (size_t i = 0; i < MB_ADS_NUM_REGISTERS && error == ESP_OK; i++) {
        error = write_register(registers[i]);
    }
    if (error != ESP_OK) {
        snprintf(problem, capacity, CHIP_NAME " does not keep its registers: check the SPI wires");
    }
    return error;
}

static esp_err_t start_converting(void)
{
    if (xTaskCreatePinnedToCore(read_forever, "ads129x", READER_STACK_BYTES, NULL, READER_PRIORITY, &reader,
                                portNUM_PROCESSORS - 1) != pdPASS) {
        return ESP_ERR_NO_MEM;
    }
    gpio_config_t pin = {
        .pin_bit_mask = 1ull << CONFIG_MYOFED_ADS_DRDY_GPIO, .mode = GPIO_MODE_INPUT, .intr_type = GPIO_INTR_NEGEDGE};
    esp_err_t error = gpio_config(&pin);
    if (error == ESP_OK) {
        error = gpio_install_isr_service(ESP_INTR_FLAG_IRAM);
    }
    if (error == ESP_OK) {
        error = command(MB_ADS_START);
    }
    if (error == ESP_OK) {
        error = command(MB_ADS_RDATAC);
    }
    // From here on the bus is the reader's.
    return error == ESP_OK ? gpio_isr_handler_add(CONFIG_MYOFED_ADS_DRDY_GPIO, on_drdy, NULL) : error;
}

static esp_err_t ads_open(mb_signal_t *signal, char *problem, size_t capacity)
{
    uint8_t num_wired = DEVICES * MB_ADS_CHANNELS;
    num_channels = signal->num_channels ? signal->num_channels : num_wired;
    if (num_channels > num_wired) {
        snprintf(problem, capacity, "%u channels, but %u are wired", (unsigned)num_channels, (unsigned)num_wired);
        return ESP_ERR_INVALID_ARG;
    }
    mb_ads_setup_t setup = {
        .chip = CHIP,
        .num_devices = DEVICES,
        .num_channels = num_channels,
        .sample_rate_hz = signal->sample_rate_hz > 0 ? (uint32_t)signal->sample_rate_hz : DEFAULT_RATE_HZ,
        .gain = signal->gain ? signal->gain : DEFAULT_GAIN,
    };
    signal->num_channels = num_channels;
    signal->sample_rate_hz = setup.sample_rate_hz;
    signal->decimation = 1;
    signal->sample_bytes = 3;
    signal->uv_per_count = mb_ads_uv_per_count(CHIP, setup.gain);
    esp_err_t error = open_bus();
    if (error == ESP_OK) {
        error = set_up_chip(&setup, problem, capacity);
    }
    if (error == ESP_OK) {
        error = start_converting();
    }
    if (error != ESP_OK && !*problem) {
        snprintf(problem, capacity, CHIP_NAME " does not start: %s", esp_err_to_name(error));
    }
    return error;
}

// Up to BLOCK_SAMPLES consecutive samples; a gap ends the block.
static esp_err_t ads_read(mb_block_t *block, uint32_t timeout_ms)
{
    size_t n = 0;
    uint32_t wait = pdMS_TO_TICKS(timeout_ms);
    while (n < BLOCK_SAMPLES) {
        if (!is_held && xQueueReceive(samples, &held, wait) != pdTRUE) {
            break;
        }
        is_held = true;
        if (n > 0 && held.number != next_number) {
            break;
        }
        if (n == 0) {
            block->time_us = (uint64_t)held.time_us;
            block->num_lost = next_number ? held.number - next_number : 0;  // none before the first edge seen
        }
        memcpy(counts + n++ * num_channels, held.counts, num_channels * sizeof *counts);
        next_number = held.number + 1;
        is_held = false;
        wait = 0;
    }
    block->counts = counts;
    block->num_samples = n;
    return n > 0 ? ESP_OK : ESP_ERR_TIMEOUT;
}

const mb_acquisition_t mb_acquisition = {.name = CHIP_NAME, .open = ads_open, .read = ads_read};

#endif
