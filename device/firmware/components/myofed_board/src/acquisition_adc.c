// Counts from the chip's own ADC1 in continuous (DMA) mode: oversampled, so that the core's decimator is the
// anti-alias filter, and numbered and stamped block by block in the interrupt.
#include "sdkconfig.h"

#ifdef CONFIG_MYOFED_FRONT_END_ADC

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "adc_plan.h"
#include "esp_adc/adc_cali.h"
#include "esp_adc/adc_cali_scheme.h"
#include "esp_adc/adc_continuous.h"
#include "esp_attr.h"
#include "esp_idf_version.h"
#include "esp_timer.h"
#include "freertos/FreeRTOS.h"
#include "freertos/task.h"
#include "myofed/filter.h"
#include "myofed_board/acquisition.h"
#include "soc/soc_caps.h"

#define DEFAULT_RATE_HZ 1000
#define ATTENUATION ADC_ATTEN_DB_12
#define FULL_SCALE_UV 3.1e6  // of ATTENUATION, for chips without calibration in their eFuses
#define COUNTS_PER_RAW 16    // adc_plan.c shifts by 4 bits
#define POOL_BLOCKS 16       // 80 ms wait for the board's task

// Limits of all channels together: SOC_ADC_SAMPLE_FREQ_THRES_LOW/HIGH until 6.0, ADC_LL_… (private) since.
#if CONFIG_IDF_TARGET_ESP32
#define LOWEST_HZ 20000
#define HIGHEST_HZ 2000000
#else
#define LOWEST_HZ 611
#define HIGHEST_HZ 83333
#endif

// What the interrupt says about one block: its number since the start, and when it was complete.
typedef struct {
    uint32_t number;
    int64_t complete_us;
} stamp_t;

// As many stamps wait as blocks in the driver's pool; the interrupt is the only writer of `newest`.
static struct {
    portMUX_TYPE lock;
    TaskHandle_t reader;
    stamp_t stamps[POOL_BLOCKS + 1];
    uint32_t num_blocks;  // completed by the converter since the start, lost ones too
    uint32_t newest, oldest;
} queue = {.lock = portMUX_INITIALIZER_UNLOCKED};

static adc_continuous_handle_t adc;
static mb_gather_t gather;
static uint8_t *raw;         // one block as the DMA wrote it
static uint32_t block_bytes;
static uint32_t conversion_hz;
static uint32_t next_number;  // of the block that should come next
static int64_t next_us;       // when it began: when the one before was complete

// The driver put a block into its pool, or (see below) failed to.
static bool IRAM_ATTR on_block(adc_continuous_handle_t handle, const adc_continuous_evt_data_t *event, void *context)
{
    (void)handle, (void)event, (void)context;
    BaseType_t woken = pdFALSE;
    portENTER_CRITICAL_ISR(&queue.lock);
    queue.stamps[queue.newest % (POOL_BLOCKS + 1)] = (stamp_t){queue.num_blocks++, esp_timer_get_time()};
    queue.newest++;
    portEXIT_CRITICAL_ISR(&queue.lock);
    vTaskNotifyGiveFromISR(queue.reader, &woken);
    return woken == pdTRUE;
}

// It called on_block for a block that its full pool had no room for: that stamp belongs to nothing.
static bool IRAM_ATTR on_overflow(adc_continuous_handle_t handle, const adc_continuous_evt_data_t *event, void *context)
{
    (void)handle, (void)event, (void)context;
    portENTER_CRITICAL_ISR(&queue.lock);
    queue.newest--;
    portEXIT_CRITICAL_ISR(&queue.lock);
    return false;
}

static bool take_stamp(stamp_t *stamp)
{
    portENTER_CRITICAL(&queue.lock);
    bool is_there = queue.oldest != queue.newest;
    if (is_there) {
        *stamp = queue.stamps[queue.oldest++ % (POOL_BLOCKS + 1)];
    }
    portEXIT_CRITICAL(&queue.lock);
    return is_there;
}

// Microvolts at the pin for one raw count around mid-scale, by the chip's own calibration where it has one.
static double calibrated_uv_per_raw(adc_channel_t channel)
{
    adc_cali_handle_t calibration;
#if ADC_CALI_SCHEME_CURVE_FITTING_SUPPORTED
    adc_cali_curve_fitting_config_t config = {
        .unit_id = ADC_UNIT_1, .chan = channel, .atten = ATTENUATION, .bitwidth = ADC_BITWIDTH_12};
    esp_err_t error = adc_cali_create_scheme_curve_fitting(&config, &calibration);
#else
    (void)channel;
    adc_cali_line_fitting_config_t config = {.unit_id = ADC_UNIT_1, .atten = ATTENUATION, .bitwidth = ADC_BITWIDTH_12};
    esp_err_t error = adc_cali_create_scheme_line_fitting(&config, &calibration);
#endif
    int low_mv = 0, high_mv = 0;
    if (error != ESP_OK || adc_cali_raw_to_voltage(calibration, 1024, &low_mv) != ESP_OK ||
        adc_cali_raw_to_voltage(calibration, 3072, &high_mv) != ESP_OK || high_mv <= low_mv) {
        return FULL_SCALE_UV / 4096;
    }
    return 1000.0 * (high_mv - low_mv) / (3072 - 1024);
}

// The channels' GPIOs into the ADC's pattern and into `gather`.
static esp_err_t plan_channels(mb_signal_t *signal, adc_digi_pattern_config_t *pattern, char *problem, size_t capacity)
{
    int gpios[MB_MAX_CHANNELS];
    size_t num_wired = mb_parse_gpios(CONFIG_MYOFED_ADC_GPIOS, gpios, MB_MAX_CHANNELS);
    if (signal->num_channels == 0) {
        signal->num_channels = (uint8_t)num_wired;
    }
    if (num_wired == 0 || signal->num_channels > num_wired || signal->num_channels > SOC_ADC_PATT_LEN_MAX) {
        snprintf(problem, capacity, "%u channels, but %u GPIOs are named in menuconfig", (unsigned)signal->num_channels,
                 (unsigned)num_wired);
        return ESP_ERR_INVALID_ARG;
    }
    for (int channel = 0; channel < 16; channel++) {
        gather.place[channel] = -1;
    }
    for (uint8_t place = 0; place < signal->num_channels; place++) {
        adc_unit_t unit;
        adc_channel_t channel;
        if (adc_continuous_io_to_channel(gpios[place], &unit, &channel) != ESP_OK || unit != ADC_UNIT_1) {
            snprintf(problem, capacity, "GPIO %d is no pin of ADC1, choose another in menuconfig", gpios[place]);
            return ESP_ERR_INVALID_ARG;
        }
        gather.place[channel] = (int8_t)place;
        pattern[place] = (adc_digi_pattern_config_t){
            .atten = ATTENUATION, .channel = (uint8_t)channel, .unit = ADC_UNIT_1, .bit_width = ADC_BITWIDTH_12};
    }
    return ESP_OK;
}

// The oversampling, and memory for one block.
static esp_err_t plan_rate(mb_signal_t *signal, char *problem, size_t capacity)
{
    uint32_t rate_hz = signal->sample_rate_hz > 0 ? (uint32_t)signal->sample_rate_hz : DEFAULT_RATE_HZ;
    mb_adc_plan_t plan;
    if (!mb_adc_plan(signal->num_channels, rate_hz, LOWEST_HZ, HIGHEST_HZ, MYOFED_MAX_DECIMATION, &plan)) {
        snprintf(problem, capacity, "%u channels at %" PRIu32 " Hz: the ADC does %d to %d conversions a second",
                 (unsigned)signal->num_channels, rate_hz, LOWEST_HZ, HIGHEST_HZ);
        return ESP_ERR_INVALID_ARG;
    }
    signal->sample_rate_hz = rate_hz;
    signal->decimation = plan.decimation;
    signal->sample_bytes = 2;
    gather.num_channels = signal->num_channels;
    gather.block_samples = plan.block_samples;
    conversion_hz = plan.conversion_hz;
    block_bytes = plan.block_samples * signal->num_channels * SOC_ADC_DIGI_RESULT_BYTES;
    raw = malloc(block_bytes);
    gather.counts = malloc(plan.block_samples * signal->num_channels * sizeof *gather.counts);
    return raw && gather.counts ? ESP_OK : ESP_ERR_NO_MEM;
}

static esp_err_t start_converting(adc_digi_pattern_config_t *pattern, uint8_t num_channels)
{
    // The pool is a whole number of blocks, so that a read never ends in the middle of one.
    adc_continuous_handle_cfg_t memory = {.max_store_buf_size = POOL_BLOCKS * block_bytes, .conv_frame_size = block_bytes};
    esp_err_t error = adc_continuous_new_handle(&memory, &adc);
    if (error != ESP_OK) {
        return error;
    }
    adc_continuous_config_t config = {
        .pattern_num = num_channels,
        .adc_pattern = pattern,
        .sample_freq_hz = conversion_hz,
        .conv_mode = ADC_CONV_SINGLE_UNIT_1,
#if ESP_IDF_VERSION < ESP_IDF_VERSION_VAL(6, 0, 0)  // later versions know it from the chip
#if CONFIG_IDF_TARGET_ESP32
        .format = ADC_DIGI_OUTPUT_FORMAT_TYPE1,
#else
        .format = ADC_DIGI_OUTPUT_FORMAT_TYPE2,
#endif
#endif
    };
    adc_continuous_evt_cbs_t callbacks = {.on_conv_done = on_block, .on_pool_ovf = on_overflow};
    queue.reader = xTaskGetCurrentTaskHandle();
    error = adc_continuous_config(adc, &config);
    if (error == ESP_OK) {
        error = adc_continuous_register_event_callbacks(adc, &callbacks, NULL);
    }
    return error == ESP_OK ? adc_continuous_start(adc) : error;
}

static esp_err_t adc_open(mb_signal_t *signal, char *problem, size_t capacity)
{
    adc_digi_pattern_config_t pattern[MB_MAX_CHANNELS] = {0};
    esp_err_t error = plan_channels(signal, pattern, problem, capacity);
    if (error == ESP_OK) {
        error = plan_rate(signal, problem, capacity);
    }
    if (error != ESP_OK) {
        return error;
    }
    uint32_t amplification = signal->gain ? signal->gain : CONFIG_MYOFED_ADC_AMPLIFICATION;
    signal->uv_per_count =
        calibrated_uv_per_raw((adc_channel_t)pattern[0].channel) / amplification / COUNTS_PER_RAW;
    error = start_converting(pattern, signal->num_channels);
    if (error != ESP_OK) {
        snprintf(problem, capacity, "the ADC does not start: %s", esp_err_to_name(error));
    }
    return error;
}

// What the DMA wrote; the layout depends on the chip.
static void gather_results(void)
{
    const adc_digi_output_data_t *results = (const adc_digi_output_data_t *)raw;
    mb_gather_begin(&gather);
    for (uint32_t i = 0; i < block_bytes / SOC_ADC_DIGI_RESULT_BYTES; i++) {
#if CONFIG_IDF_TARGET_ESP32
        mb_gather_take(&gather, results[i].type1.channel, results[i].type1.data);
#else
        mb_gather_take(&gather, results[i].type2.channel, results[i].type2.data);
#endif
    }
}

// When a block began, by this board's clock: the configured rate is a wish, so it serves after a gap only.
static uint64_t began_us(const stamp_t *stamp)
{
    if (next_us > 0 && stamp->number == next_number) {
        return (uint64_t)next_us;
    }
    uint64_t duration_us = 1000000ull * gather.block_samples * gather.num_channels / conversion_hz;
    return (uint64_t)stamp->complete_us > duration_us ? (uint64_t)stamp->complete_us - duration_us : 0;
}

static esp_err_t adc_read(mb_block_t *block, uint32_t timeout_ms)
{
    stamp_t stamp;
    if (!take_stamp(&stamp)) {
        ulTaskNotifyTake(pdTRUE, pdMS_TO_TICKS(timeout_ms));
        if (!take_stamp(&stamp)) {
            return ESP_ERR_TIMEOUT;
        }
    }
    uint32_t size = 0;
    esp_err_t error = adc_continuous_read(adc, raw, block_bytes, &size, 0);
    if (error != ESP_OK || size != block_bytes) {
        return error == ESP_OK ? ESP_ERR_INVALID_SIZE : error;  // its number is missed, so it counts as lost
    }
    gather_results();
    if (!mb_gather_complete(&gather)) {
        return ESP_ERR_INVALID_RESPONSE;  // as above
    }
    block->counts = gather.counts;
    block->num_samples = gather.block_samples;
    block->num_lost = (stamp.number - next_number) * gather.block_samples;
    block->time_us = began_us(&stamp);
    next_number = stamp.number + 1;
    next_us = stamp.complete_us;
    return ESP_OK;
}

const mb_acquisition_t mb_acquisition = {.name = "adc", .open = adc_open, .read = adc_read};

#endif
