/* SPDX-License-Identifier: MIT */
/* Every command with arguments that nobody would give: whatever comes, each request has well-formed replies or ends its
 * connection, and the server goes on. The seed is printed; TORC_SEED repeats a run. */
#include "commands_testing.h"

#include "base/testing.h"

TestSuite(commands_fuzz, .init = create, .fini = destroy, .timeout = 120);

#define LONG_SIZE 70000u        /* Longer than any key. */

static char long_text[LONG_SIZE];

/* What arguments are made of: numbers at every edge, words that commands know, bytes that they do not. */
static const struct torc_slice pool[] = {
    {"", 0}, {"0", 1}, {"-1", 2}, {"1", 1}, {"3", 1}, {"9223372036854775807", 19}, {"-9223372036854775808", 20},
    {"9223372036854775808", 19}, {"99999999999999999999999", 23}, {"536870912", 9}, {"4294967296", 10}, {"1.5", 3},
    {"1e4932", 6}, {"nan", 3}, {"inf", 3}, {"0x10", 4}, {" 1", 2}, {"+1", 2}, {"key", 3}, {"k2", 2}, {"number", 6},
    {"\0", 1}, {"\0\xff\r\n", 4}, {"\r\n", 2}, {"a b", 3}, {"*", 1}, {"[", 1}, {"\\", 1}, {"[^", 2}, {"?*?*?*a", 7},
    {"%s%n%d", 6}, {"NX", 2}, {"XX", 2}, {"GT", 2}, {"LT", 2}, {"GET", 3}, {"EX", 2}, {"PX", 2}, {"EXAT", 4},
    {"PXAT", 4}, {"KEEPTTL", 7}, {"PERSIST", 7}, {"DB", 2}, {"REPLACE", 7}, {"IDX", 3}, {"LEN", 3}, {"MINMATCHLEN", 11},
    {"WITHMATCHLEN", 12}, {"MATCH", 5}, {"COUNT", 5}, {"TYPE", 4}, {"LIMIT", 5}, {"REV", 3}, {"ID", 2}, {"ADDR", 4},
    {"SKIPME", 6}, {"no", 2}, {"AUTH", 4}, {"SETNAME", 7}, {"default", 7}, {"maxmemory", 9}, {"requirepass", 11},
    {"notify-keyspace-events", 22}, {"KEA", 3}, {"slowlog-max-len", 15}, {"databases", 9}, {"SAMPLES", 7}, {"HELP", 4},
    {"RESET", 5}, {"get", 3}, {"mset", 4}, {"SYNC", 4}, {"+", 1}, {"-", 1}, {long_text, LONG_SIZE},
};

#define POOL (sizeof pool / sizeof pool[0])

static unsigned
below(struct torci_random *random, size_t bound)
{
    return (unsigned)torci_random_below(random, bound);
}

/* Behind the reply at `at`, or NULL if it is not well-formed or not complete. */
static const char *
skip_reply(const char *at, const char *end, unsigned depth)
{
    const char *line = at == end ? NULL : memchr(at, '\n', (size_t)(end - at));

    if (line == NULL || line == at || line[-1] != '\r' || depth > 8)
        return NULL;
    long count = strtol(at + 1, NULL, 10);
    switch (*at) {
    case '+': case '-': case ':': case '_': case ',': case '#':
        return line + 1;
    case '$': case '=':
        if (count < 0)
            return line + 1;
        return end - (line + 1) >= count + 2 && memcmp(line + 1 + count, "\r\n", 2) == 0 ? line + 1 + count + 2 : NULL;
    case '%':
        count *= 2;
        break;
    case '*': case '~': case '>':
        break;
    default:
        return NULL;
    }
    at = line + 1;
    for (long i = 0; i < count && at != NULL; i++)
        at = skip_reply(at, end, depth + 1);
    return at;
}

static bool
is_well_formed(const struct torcd_buffer *out)
{
    const char *at = out->data, *end = out->data + out->size;

    while (at != NULL && at < end)
        at = skip_reply(at, end, 0);
    return at == end;
}

static void
write_request(struct torcd_buffer *request, const struct torcd_command *command, unsigned count,
              struct torci_random *random)
{
    const char *bar = strchr(command->name, '|');
    struct torc_slice name = torc_slice_from_string(command->name);

    torcd_resp_array(request, count + 1 + (bar != NULL));
    if (bar != NULL) {
        torcd_resp_bulk(request, torc_slice(command->name, (size_t)(bar - command->name)));
        name = torc_slice_from_string(bar + 1);
    }
    torcd_resp_bulk(request, name);
    for (unsigned i = 0; i < count; i++)
        torcd_resp_bulk(request, pool[below(random, POOL)]);
}

/* A session that may listen, monitor, watch or be inside MULTI from what came before. */
static struct torcd_session *
fresh_session(struct torcd_session *old)
{
    torcd_session_destroy(old);
    struct torcd_session *session = torcd_session_create(server->workers[0], "127.0.0.1:2");
    cr_assert_not_null(session);
    return session;
}

static void
try_request(struct torcd_session **session, const struct torcd_command *command, unsigned count,
            struct torci_random *random)
{
    struct torcd_buffer request = {0};
    unsigned budget = 1;
    size_t consumed;

    write_request(&request, command, count, random);
    (void)torcd_commands_feed(*session, request.data, request.size, 0, &budget, &consumed);
    cr_assert((*session)->closing || consumed == request.size, "%s", command->name);
    cr_assert((*session)->closing || (*session)->out.size > 0, "%s has no reply", command->name);
    cr_assert(is_well_formed(&(*session)->out), "%s: %.*s", command->name, (int)(*session)->out.size,
              (*session)->out.data);
    torcd_buffer_truncate(&(*session)->out, 0);
    torcd_buffer_fini(&request);
    for (unsigned i = 0; i < WORKERS; i++)
        (void)torcd_worker_run_messages(server->workers[i]);
    cr_assert(is_well_formed(&(*session)->out), "what is pushed after %s", command->name);
    torcd_buffer_truncate(&(*session)->out, 0);
    if ((*session)->closing || (*session)->doomed)
        *session = fresh_session(*session);
}

static void
forget_settings(void)
{
    cr_assert(torcd_server_set_password(server, torc_slice(NULL, 0)));
    for (unsigned i = 0; i < TORCD_SETTINGS; i++)
        atomic_store_explicit(&server->settings[i], torcd_setting_info((enum torcd_setting)i)->preset,
                              memory_order_relaxed);
    /* Values that would grow for ever. */
    atomic_store_explicit(&server->settings[TORCD_BULK_MAX], 1 << 20, memory_order_relaxed);
}

static void
try_all(unsigned rounds)
{
    struct torci_random random;
    struct torcd_session *session = fresh_session(NULL);
    size_t entries;
    const struct torcd_command *commands = torcd_commands(&entries);

    random = torci_random_seed(torct_seed());
    for (unsigned round = 0; round < rounds; round++)
        for (size_t i = 0; i < entries; i++) {
            forget_settings();
            unsigned least = (unsigned)(commands[i].arity < 0 ? -commands[i].arity : commands[i].arity);
            unsigned subcommand = strchr(commands[i].name, '|') != NULL;
            unsigned count = round % 2 == 0 ? below(&random, 7)
                                            : least - 1 - subcommand + below(&random, commands[i].arity < 0 ? 4 : 1);
            try_request(&session, &commands[i], count, &random);
            if (below(&random, 16) == 0)
                session = fresh_session(session);
        }
    torcd_session_destroy(session);
    (void)ask(0, "RESET");
    cr_expect_str_eq(ask(0, "PING"), "+PONG\r\n");
}

Test(commands_fuzz, bad_arguments_are_answered)
{
    memset(long_text, 'l', sizeof long_text);
    try_all(60);
}

/* As above, most of it inside of MULTI, which is executed now and then. */
Test(commands_fuzz, bad_arguments_are_answered_inside_multi)
{
    struct torci_random random;
    struct torcd_session *session = fresh_session(NULL);
    size_t entries;
    const struct torcd_command *commands = torcd_commands(&entries);
    static const struct torcd_command *multi, *exec;

    memset(long_text, 'l', sizeof long_text);
    random = torci_random_seed(torct_seed());
    multi = torcd_commands_find(server, torc_slice("multi", 5));
    exec = torcd_commands_find(server, torc_slice("exec", 4));
    for (unsigned round = 0; round < 1500; round++) {
        forget_settings();
        try_request(&session, multi, 0, &random);
        for (unsigned i = 0, count = below(&random, 6); i < count; i++) {
            const struct torcd_command *command = &commands[below(&random, (unsigned)entries)];
            unsigned least = (unsigned)(command->arity < 0 ? -command->arity : command->arity);
            unsigned subcommand = strchr(command->name, '|') != NULL;
            try_request(&session, command,
                        least - 1 - subcommand + (command->arity < 0 ? below(&random, 3) : 0), &random);
        }
        try_request(&session, exec, 0, &random);
    }
    torcd_session_destroy(session);
}

/* Any nth failing allocation, through every command. */
#ifdef TORC_FAULTS
Test(commands_fuzz, failing_allocations_are_answered)
{
    struct torci_random random;
    struct torcd_session *session = fresh_session(NULL);
    size_t entries;
    const struct torcd_command *commands = torcd_commands(&entries);

    random = torci_random_seed(torct_seed());
    for (size_t i = 0; i < entries; i++)
        for (unsigned long nth = 1; nth < 8; nth++) {
            struct torcd_buffer request = {0};
            unsigned budget = 1;
            size_t consumed;
            forget_settings();
            write_request(&request, &commands[i], 3, &random);
            torcd_memory_fail_at(nth);
            (void)torcd_commands_feed(session, request.data, request.size, 0, &budget, &consumed);
            torcd_memory_fail_at(0);
            torcd_buffer_fini(&request);
            session = fresh_session(session);
        }
    torcd_session_destroy(session);
    cr_expect_str_eq(ask(0, "PING"), "+PONG\r\n");
}
#endif
