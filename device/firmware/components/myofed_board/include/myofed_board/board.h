// A board on ESP-IDF: the portable core (myofed/board.h) with a converter, a serial line, MQTT and settings.
#ifndef MYOFED_BOARD_BOARD_H
#define MYOFED_BOARD_BOARD_H

// Start everything and return; call it once, from app_main.
void mb_board_start(void);

#endif
