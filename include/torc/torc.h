/* SPDX-License-Identifier: MIT */
/* include/torc/torc.h: all of torc, and its version. */
#ifndef TORC_TORC_H
#define TORC_TORC_H

#include <torc/base.h>
#include <torc/mvcc.h>

#define TORC_VERSION_MAJOR 0
#define TORC_VERSION_MINOR 1
#define TORC_VERSION_PATCH 0
#define TORC_VERSION "0.1.0"

#ifdef __cplusplus
extern "C" {
#endif

/* The version of the library that is linked, "major.minor.patch". Wait-free. */
TORC_API const char *torc_version(void);

#ifdef __cplusplus
}
#endif
#endif
