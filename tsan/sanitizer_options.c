/* SPDX-License-Identifier: MIT */
/* tsan/sanitizer_options: the sanitizers' options and suppressions, inside each test and stress program, so that no
 * environment is needed. The runtimes look these functions up by name; without a runtime nobody calls them.
 *
 * halt_on_error     Criterion does not notice a report that lets the program go on.
 * history_size      long enough a memory of accesses that the second stack of a report can be restored.
 * atexit_sleep_ms   how long a program waits at its end for other threads' reports. Tests join theirs; the
 *                   default of a second, once per test, would be most of a run.
 * called_from_lib   makes ThreadSanitizer ignore what liburcu itself does (its queue is inline assembly, its mutexes
 *                   would hide races). Callbacks stay checked. Exactly one library may match each line; never
 *                   "race:liburcu", which would silence every race inside a callback. */
const char *__tsan_default_options(void);
const char *__tsan_default_suppressions(void);
const char *__asan_default_options(void);

__attribute__((used, visibility("default"))) const char *
__tsan_default_options(void)
{
    return "halt_on_error=1:exitcode=66:history_size=4:second_deadlock_stack=1:atexit_sleep_ms=50";
}

__attribute__((used, visibility("default"))) const char *
__tsan_default_suppressions(void)
{
    return "called_from_lib:liburcu-memb.so\n"
           "called_from_lib:liburcu-cds.so\n";
}

__attribute__((used, visibility("default"))) const char *
__asan_default_options(void)
{
    return "detect_leaks=1:abort_on_error=0:detect_stack_use_after_return=1";
}
