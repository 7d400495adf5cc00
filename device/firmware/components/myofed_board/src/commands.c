#include "commands.h"

#include <stdbool.h>
#include <stdio.h>

#include "driver/gpio.h"
#include "esp_err.h"
#include "esp_system.h"
#include "esp_timer.h"
#include "myofed_board/student.h"
#include "sdkconfig.h"
#include "settings.h"
#include "settings_store.h"

#define RESTART_US 300000    // the answer has left by then
#define IDENTIFY_US 5000000  // blinks so long
#define BLINK_US 100000

static int64_t restart_us, blink_until_us;  // 0: not asked for

static myofed_result_t said(bool is_done)
{
    return is_done ? MYOFED_DONE : MYOFED_REFUSED;
}

static myofed_result_t get(void *context, const char *argument, char *answer, size_t capacity)
{
    (void)context;
    return said(mb_settings_get(argument, answer, capacity));
}

static myofed_result_t set(void *context, const char *argument, char *answer, size_t capacity)
{
    (void)context;
    return said(mb_settings_set(argument, answer, capacity));
}

static myofed_result_t save(void *context, const char *argument, char *answer, size_t capacity)
{
    (void)context, (void)argument;
    esp_err_t error = mb_settings_save();
    snprintf(answer, capacity, "%s", error == ESP_OK ? "saved; they apply after `restart`" : esp_err_to_name(error));
    return said(error == ESP_OK);
}

static myofed_result_t restart(void *context, const char *argument, char *answer, size_t capacity)
{
    (void)context, (void)argument;
    restart_us = esp_timer_get_time() + RESTART_US;
    snprintf(answer, capacity, "restarting");
    return MYOFED_DONE;
}

static myofed_result_t identify(void *context, const char *argument, char *answer, size_t capacity)
{
    (void)context, (void)argument;
    if (CONFIG_MYOFED_LED_GPIO < 0) {
        snprintf(answer, capacity, "this board has no LED: name its GPIO in menuconfig");
        return MYOFED_REFUSED;
    }
    gpio_config_t pin = {.pin_bit_mask = 1ull << (CONFIG_MYOFED_LED_GPIO & 63), .mode = GPIO_MODE_OUTPUT};
    blink_until_us = esp_timer_get_time() + IDENTIFY_US;
    return said(gpio_config(&pin) == ESP_OK);
}

static myofed_result_t student(void *context, const char *argument, char *answer, size_t capacity)
{
    (void)context;
    return said(mb_student_download(argument, answer, capacity));
}

static const myofed_command_t table[] = {
    {"get", get}, {"set", set}, {"save", save}, {"restart", restart}, {"identify", identify}, {"student", student},
};

myofed_result_t mb_command(const char *name, const char *argument, char *answer, size_t capacity)
{
    return myofed_command_run(table, sizeof table / sizeof *table, NULL, name, argument, answer, capacity);
}

void mb_commands_poll(int64_t now_us)
{
    if (restart_us && now_us >= restart_us) {
        esp_restart();
    }
    if (blink_until_us) {
        bool is_over = now_us >= blink_until_us;
        gpio_set_level(CONFIG_MYOFED_LED_GPIO, !is_over && now_us / BLINK_US % 2);
        blink_until_us = is_over ? 0 : blink_until_us;
    }
}
