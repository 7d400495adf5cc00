// Frames to bytes and back. The decoder trusts nothing: each read is bounded by what is left.
#include "myofed/frame.h"

#include <math.h>
#include <string.h>

#include "bytes.h"
#include "myofed/crc32.h"

enum { HELLO_NUMBERS = 20, SAMPLES_NUMBERS = 2, STATUS_NUMBERS = 19, ACKNOWLEDGE_NUMBERS = 5 };

// --- What a kind can say ----------------------------------------------------------------------------------------

// Words with one space between two: no other space.
static bool are_words(myofed_text_t text) {
    bool after_space = true;
    for (size_t i = 0; i < text.size; i++) {
        const bool space = text.bytes[i] == ' ';
        if (space && after_space) {
            return false;
        }
        after_space = space;
    }
    return text.size == 0 || !after_space;
}

static bool is_positive(double number) {
    return number > 0 && isfinite(number);
}

static bool is_format(uint8_t sample_bytes) {
    return sample_bytes == 2 || sample_bytes == 3;
}

static bool is_hello(const myofed_hello_t *hello) {
    const bool versions = hello->oldest_version >= 1 && hello->oldest_version <= hello->newest_version;
    // A newer board may have formats unknown here.
    const bool format = hello->oldest_version > MYOFED_NEWEST_VERSION || is_format(hello->sample_bytes);
    return versions && format && hello->num_channels >= 1 && is_positive(hello->sample_rate_hz) &&
           is_positive(hello->uv_per_count) && are_words(hello->capabilities);
}

static bool is_samples(const myofed_samples_t *samples) {
    const size_t sample = (size_t)samples->sample_bytes * samples->num_channels;
    return is_format(samples->sample_bytes) && sample > 0 && samples->size > 0 && samples->size % sample == 0;
}

// --- Writing ----------------------------------------------------------------------------------------------------

typedef struct {
    uint8_t *at;
    size_t left;
    myofed_err_t error;  // the first
} writer_t;

static void write_bytes(writer_t *writer, const void *bytes, size_t size) {
    if (size > writer->left) {
        writer->error = MYOFED_ERR_SIZE;
        writer->left = 0;
    } else if (size > 0) {
        memcpy(writer->at, bytes, size);
        writer->at += size;
        writer->left -= size;
    }
}

static void write_text(writer_t *writer, myofed_text_t text) {
    if (!myofed_is_utf8(text.bytes, text.size)) {
        writer->error = MYOFED_ERR_BODY;
    }
    write_bytes(writer, &text.size, 1);
    write_bytes(writer, text.bytes, text.size);
}

static void write_hello(writer_t *writer, const myofed_hello_t *hello) {
    uint8_t numbers[HELLO_NUMBERS] = {hello->oldest_version, hello->newest_version, hello->sample_bytes,
                                      hello->num_channels};
    put_double(put_double(numbers + 4, hello->sample_rate_hz), hello->uv_per_count);
    write_bytes(writer, numbers, sizeof numbers);
    write_text(writer, hello->board_id);
    write_text(writer, hello->firmware);
    write_text(writer, hello->capabilities);
    if (!is_hello(hello)) {
        writer->error = MYOFED_ERR_BODY;
    }
}

static void write_samples(writer_t *writer, const myofed_samples_t *samples) {
    const uint8_t numbers[SAMPLES_NUMBERS] = {samples->sample_bytes, samples->num_channels};
    write_bytes(writer, numbers, sizeof numbers);
    write_bytes(writer, samples->data, samples->size);
    if (!is_samples(samples)) {
        writer->error = MYOFED_ERR_BODY;
    }
}

static void write_status(writer_t *writer, const myofed_status_t *status) {
    uint8_t numbers[STATUS_NUMBERS] = {status->streaming};
    uint8_t *at = put_uint(numbers + 1, status->num_samples, 8);
    at = put_uint(at, status->num_dropped, 4);
    at = put_uint(at, status->num_rejected, 4);
    put_uint(at, status->battery_mv, 2);
    write_bytes(writer, numbers, sizeof numbers);
    write_text(writer, status->message);
}

static void write_acknowledge(writer_t *writer, const myofed_acknowledge_t *acknowledge) {
    uint8_t numbers[ACKNOWLEDGE_NUMBERS];
    *put_uint(numbers, acknowledge->answers, 4) = acknowledge->accepted;
    write_bytes(writer, numbers, sizeof numbers);
    write_text(writer, acknowledge->message);
}

static void write_body(writer_t *writer, const myofed_frame_t *frame) {
    switch (frame->kind) {
        case MYOFED_HELLO:
            write_hello(writer, &frame->as.hello);
            break;
        case MYOFED_SAMPLES:
            write_samples(writer, &frame->as.samples);
            break;
        case MYOFED_STATUS:
            write_status(writer, &frame->as.status);
            break;
        case MYOFED_COMMAND:
            write_text(writer, frame->as.command.name);
            write_text(writer, frame->as.command.argument);
            break;
        case MYOFED_ACKNOWLEDGE:
            write_acknowledge(writer, &frame->as.acknowledge);
            break;
        case MYOFED_MARKER:
            write_text(writer, frame->as.marker.label);
            break;
        default:
            writer->error = MYOFED_ERR_KIND;
    }
}

size_t myofed_frame_seal(uint8_t *payload, size_t body_size, uint8_t version, myofed_kind_t kind, uint32_t sequence,
                         uint64_t time_us) {
    const size_t size = MYOFED_HEADER_BYTES + body_size;
    payload[0] = version;
    payload[1] = (uint8_t)kind;
    put_uint(put_uint(payload + 2, sequence, 4), time_us, 8);
    put_uint(payload + size, myofed_crc32(payload, size), MYOFED_CRC_BYTES);
    return size + MYOFED_CRC_BYTES;
}

myofed_err_t myofed_frame_encode(const myofed_frame_t *frame, uint8_t *payload, size_t capacity, size_t *size) {
    const size_t most = capacity < MYOFED_MAX_PAYLOAD_BYTES ? capacity : MYOFED_MAX_PAYLOAD_BYTES;
    if (most < MYOFED_MIN_PAYLOAD_BYTES) {
        return MYOFED_ERR_SIZE;
    }
    writer_t writer = {payload + MYOFED_HEADER_BYTES, most - MYOFED_MIN_PAYLOAD_BYTES, MYOFED_OK};
    write_body(&writer, frame);
    if (writer.error != MYOFED_OK) {
        return writer.error;
    }
    const size_t body_size = (size_t)(writer.at - payload) - MYOFED_HEADER_BYTES;
    *size = myofed_frame_seal(payload, body_size, frame->version, (myofed_kind_t)frame->kind, frame->sequence,
                              frame->time_us);
    return MYOFED_OK;
}

// --- Reading ----------------------------------------------------------------------------------------------------

typedef struct {
    const uint8_t *at;
    size_t left;
} reader_t;

// The next `size` bytes, or NULL where there are fewer.
static const uint8_t *read_bytes(reader_t *reader, size_t size) {
    if (size > reader->left) {
        return NULL;
    }
    const uint8_t *at = reader->at;
    reader->at += size;
    reader->left -= size;
    return at;
}

static bool read_text(reader_t *reader, myofed_text_t *text) {
    const uint8_t *size = read_bytes(reader, 1);
    const uint8_t *bytes = size == NULL ? NULL : read_bytes(reader, *size);
    if (bytes == NULL) {
        return false;
    }
    *text = (myofed_text_t){(const char *)bytes, *size};
    return myofed_is_utf8(text->bytes, text->size);
}

static bool read_hello(reader_t *reader, myofed_hello_t *hello) {
    const uint8_t *numbers = read_bytes(reader, HELLO_NUMBERS);
    if (numbers == NULL) {
        return false;
    }
    *hello = (myofed_hello_t){.oldest_version = numbers[0],
                              .newest_version = numbers[1],
                              .sample_bytes = numbers[2],
                              .num_channels = numbers[3],
                              .sample_rate_hz = get_double(numbers + 4),
                              .uv_per_count = get_double(numbers + 12)};
    const bool texts = read_text(reader, &hello->board_id) && read_text(reader, &hello->firmware) &&
                       read_text(reader, &hello->capabilities);
    reader->left = 0;  // hellos of newer versions may be longer
    return texts && is_hello(hello);
}

static bool read_samples(reader_t *reader, myofed_samples_t *samples) {
    const uint8_t *numbers = read_bytes(reader, SAMPLES_NUMBERS);
    if (numbers == NULL) {
        return false;
    }
    const size_t size = reader->left;
    *samples = (myofed_samples_t){numbers[0], numbers[1], read_bytes(reader, size), size};
    return is_samples(samples);
}

static bool read_status(reader_t *reader, myofed_status_t *status) {
    const uint8_t *numbers = read_bytes(reader, STATUS_NUMBERS);
    if (numbers == NULL) {
        return false;
    }
    *status = (myofed_status_t){.streaming = numbers[0] != 0,
                                .num_samples = get_uint(numbers + 1, 8),
                                .num_dropped = (uint32_t)get_uint(numbers + 9, 4),
                                .num_rejected = (uint32_t)get_uint(numbers + 13, 4),
                                .battery_mv = (uint16_t)get_uint(numbers + 17, 2)};
    return read_text(reader, &status->message);
}

static bool read_acknowledge(reader_t *reader, myofed_acknowledge_t *acknowledge) {
    const uint8_t *numbers = read_bytes(reader, ACKNOWLEDGE_NUMBERS);
    if (numbers == NULL) {
        return false;
    }
    acknowledge->answers = (uint32_t)get_uint(numbers, 4);
    acknowledge->accepted = numbers[4] != 0;
    return read_text(reader, &acknowledge->message);
}

static bool read_body(reader_t *reader, myofed_frame_t *frame) {
    switch (frame->kind) {
        case MYOFED_HELLO:
            return read_hello(reader, &frame->as.hello);
        case MYOFED_SAMPLES:
            return read_samples(reader, &frame->as.samples);
        case MYOFED_STATUS:
            return read_status(reader, &frame->as.status);
        case MYOFED_COMMAND:
            return read_text(reader, &frame->as.command.name) && read_text(reader, &frame->as.command.argument);
        case MYOFED_ACKNOWLEDGE:
            return read_acknowledge(reader, &frame->as.acknowledge);
        default:
            return read_text(reader, &frame->as.marker.label);
    }
}

myofed_err_t myofed_frame_decode(const uint8_t *payload, size_t size, myofed_frame_t *frame) {
    if (size < MYOFED_MIN_PAYLOAD_BYTES || size > MYOFED_MAX_PAYLOAD_BYTES) {
        return MYOFED_ERR_SIZE;
    }
    if (myofed_crc32(payload, size) != MYOFED_CRC32_RESIDUE) {
        return MYOFED_ERR_CRC;
    }
    frame->version = payload[0];
    frame->kind = payload[1];
    frame->sequence = (uint32_t)get_uint(payload + 2, 4);
    frame->time_us = get_uint(payload + 6, 8);
    const bool spoken = frame->version >= MYOFED_OLDEST_VERSION && frame->version <= MYOFED_NEWEST_VERSION;
    if (!spoken && frame->kind != MYOFED_HELLO) {
        return MYOFED_ERR_VERSION;
    }
    if (frame->kind < MYOFED_HELLO || frame->kind > MYOFED_MARKER) {
        return MYOFED_ERR_KIND;
    }
    reader_t body = {payload + MYOFED_HEADER_BYTES, size - MYOFED_MIN_PAYLOAD_BYTES};
    return read_body(&body, frame) && body.left == 0 ? MYOFED_OK : MYOFED_ERR_BODY;
}
