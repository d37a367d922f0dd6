/* SPDX-License-Identifier: MIT */
/* An archive must hold something even before its sources have landed. */
extern const int torci_anchor;
const int torci_anchor = 0;
