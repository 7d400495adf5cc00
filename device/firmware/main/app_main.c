#include "myofed_board/board.h"

void app_main(void)
{
    mb_board_start();
}
