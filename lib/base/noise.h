/* SPDX-License-Identifier: MIT */
/* base/noise: seeded disturbance of the schedule, called before every shared access in builds with TORC_ATOMIC_NOISE.
 *
 * Threads alternate at random between moods: calm (a yield in 256 calls), lively (one in 16), and, rarely, starved
 * (calls sleep, up to 2 ms in all): short delays often, long ones rarely, victims by chance. */
#ifndef TORCI_NOISE_H
#define TORCI_NOISE_H

#include <stdint.h>

/* Seed the calling thread's noise. Without it, the seed comes from TORC_SEED in the environment (else a constant) and
 * from the order in which threads come here first. */
void torci_noise_seed(uint64_t seed);

/* Disturb, or not. */
void torci_noise(void);

#endif
