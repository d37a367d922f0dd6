/* SPDX-License-Identifier: MIT */
/* base/ck: the border to concurrencykit. No header of it is seen beyond base/ck.c. */
#ifndef TORCI_CK_H
#define TORCI_CK_H

/* Exponential back-off after a lost race: a pause whose length doubles each time, up to some microseconds. It gives
 * the winner time; nothing depends on it, and it waits for nobody. Owner only. */
struct torci_backoff {
    unsigned turns;     /* Of the next pause. */
};

struct torci_backoff torci_backoff_begin(void);
void torci_backoff_pause(struct torci_backoff *backoff);

#endif
