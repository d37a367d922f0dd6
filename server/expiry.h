/* SPDX-License-Identifier: MIT */
/* server/expiry.h: the times at which keys expire, as commands give them. */
#ifndef TORCD_EXPIRY_H
#define TORCD_EXPIRY_H

#include "session.h"

/* How a number means a time. */
struct torcd_time_form {
    bool seconds;           /* Else milliseconds. */
    bool absolute;          /* Since 1970; else from now. */
};

/* The time in milliseconds since 1970 that `text` means. With `positive`, it must be greater than 0 as given; without,
 * a time that is past is all right, and what comes before 1970 is 1. False: the client is told what is wrong. */
bool torcd_expiry_parse(struct torcd_session *session, struct torc_slice text, struct torcd_time_form form,
                        bool positive, uint64_t *expires_ms);

/* Whether `expires_ms` is past. */
bool torcd_expiry_is_past(const struct torcd_session *session, uint64_t expires_ms);

/* What the words behind SET key value, or GETEX key, ask for. */
struct torcd_set_options {
    bool if_absent;         /* NX */
    bool if_present;        /* XX */
    bool get;               /* GET */
    bool keep;              /* KEEPTTL */
    bool persist;           /* PERSIST */
    bool expires;           /* One of EX, PX, EXAT, PXAT. */
    struct torc_slice time; /* Its number, not looked at yet. */
    struct torcd_time_form form;
    uint64_t expires_ms;    /* Filled by who parses the number. */
};

/* Read the words from argument `first` on; `getex` says which ones there may be. False: the client is told. */
bool torcd_set_options_parse(struct torcd_session *session, size_t first, bool getex,
                             struct torcd_set_options *options);

/* Parse the number, if there is one. False: the client is told what is wrong. */
bool torcd_set_options_time(struct torcd_session *session, struct torcd_set_options *options);

#endif
