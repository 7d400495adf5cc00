// What can go wrong in the core, by what its caller does about it.
#ifndef MYOFED_ERROR_H
#define MYOFED_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    MYOFED_OK = 0,
    MYOFED_ERR_SIZE,      // too short or too long, or the buffer given is too small
    MYOFED_ERR_CRC,       // damaged on the way
    MYOFED_ERR_STUFFING,  // no COBS
    MYOFED_ERR_VERSION,   // an undamaged frame of a version that is not spoken here
    MYOFED_ERR_KIND,      // a kind that does not exist
    MYOFED_ERR_BODY,      // a right CRC around values that this kind cannot have
    MYOFED_ERR_CONFIG,    // see myofed_config_problem()
} myofed_err_t;

#ifdef __cplusplus
}
#endif
#endif
