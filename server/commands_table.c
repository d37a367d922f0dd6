/* SPDX-License-Identifier: MIT */
/* server/commands_table.c: every command, and how it is found by its name.
 *
 * The subcommands of a command stand right behind it, each named "command|subcommand"; so the place in the table is the
 * number of the counters of both. */
#include "commands.h"

#include <assert.h>

#define NAME_SIZE_MAX 16u

/* Flags, short for the table. */
#define A TORCD_ADMIN
#define C TORCD_CONNECTION
#define D TORCD_CONTAINER
#define F TORCD_FAST
#define I TORCD_IMMEDIATE
#define L TORCD_LISTENER
#define N TORCD_NO_AUTH
#define Q TORCD_UNTIMED
#define R TORCD_READS
#define U TORCD_NO_MULTI
#define W TORCD_WRITES
#define X TORCD_SECRET
static const struct torcd_command commands[] = {
    {"append", 3, W | F, 1, 1, 1, torcd_command_append, "string", "Appends a string to the value of a key."},
    {"auth", -2, C | F | N | X, 0, 0, 0, torcd_command_auth, "connection", "Authenticates the connection."},
    {"bgsave", -1, A, 0, 0, 0, torcd_command_bgsave, "server", "Begins a checkpoint in the background."},
    {"client", -2, C | D, 0, 0, 0, NULL, "connection", "Names, lists and ends connections."},
    {"client|getname", 2, C, 0, 0, 0, torcd_command_client_getname, "connection", "Returns the connection's name."},
    {"client|getredir", 2, C, 0, 0, 0, torcd_command_client_getredir, "connection",
     "Says where invalidations go: nowhere."},
    {"client|help", 2, C, 0, 0, 0, torcd_command_client_help, "connection", "Describes the subcommands."},
    {"client|id", 2, C, 0, 0, 0, torcd_command_client_id, "connection", "Returns the connection's number."},
    {"client|info", 2, C, 0, 0, 0, torcd_command_client_info, "connection", "Describes the connection."},
    {"client|kill", -3, A | C, 0, 0, 0, torcd_command_client_kill, "connection", "Ends connections."},
    {"client|list", -2, A | C, 0, 0, 0, torcd_command_client_list, "connection", "Describes the connections."},
    {"client|no-evict", 3, A | C, 0, 0, 0, torcd_command_client_no_evict, "connection", "Accepted, without effect."},
    {"client|no-touch", 3, C, 0, 0, 0, torcd_command_client_no_touch, "connection", "Accepted, without effect."},
    {"client|setinfo", 4, C, 0, 0, 0, torcd_command_client_setinfo, "connection", "Accepted, without effect."},
    {"client|setname", 3, C, 0, 0, 0, torcd_command_client_setname, "connection", "Names the connection."},
    {"command", -1, C | D, 0, 0, 0, torcd_command_command, "server", "Describes all commands."},
    {"command|count", 2, C, 0, 0, 0, torcd_command_command_count, "server", "Returns the number of commands."},
    {"command|docs", -2, C, 0, 0, 0, torcd_command_command_docs, "server", "Documents commands."},
    {"command|getkeys", -4, C, 0, 0, 0, torcd_command_command_getkeys, "server", "Returns the keys of a request."},
    {"command|help", 2, C, 0, 0, 0, torcd_command_command_help, "server", "Describes the subcommands."},
    {"command|info", -2, C, 0, 0, 0, torcd_command_command_info, "server", "Describes commands."},
    {"command|list", -2, C, 0, 0, 0, torcd_command_command_list, "server", "Lists the commands."},
    {"config", -2, A | D, 0, 0, 0, NULL, "server", "Reads and changes settings."},
    {"config|get", -3, A, 0, 0, 0, torcd_command_config_get, "server", "Returns settings."},
    {"config|help", 2, A, 0, 0, 0, torcd_command_config_help, "server", "Describes the subcommands."},
    {"config|resetstat", 2, A, 0, 0, 0, torcd_command_config_resetstat, "server", "Lets counters begin at 0."},
    {"config|rewrite", 2, A, 0, 0, 0, torcd_command_config_rewrite, "server", "Refused: there is no file."},
    {"config|set", -4, A, 0, 0, 0, torcd_command_config_set, "server", "Changes settings."},
    {"copy", -3, W, 1, 2, 1, torcd_command_copy, "generic", "Copies a value to another key."},
    {"dbsize", 1, R | F, 0, 0, 0, torcd_command_dbsize, "server", "Returns the number of keys."},
    {"debug", -2, A, 0, 0, 0, torcd_command_debug, "server", "Holds up its thread, and other means of tests."},
    {"decr", 2, W | F, 1, 1, 1, torcd_command_decr, "string", "Subtracts one from the integer value of a key."},
    {"decrby", 3, W | F, 1, 1, 1, torcd_command_decrby, "string", "Subtracts from the integer value of a key."},
    {"del", -2, W, 1, -1, 1, torcd_command_del, "generic", "Deletes keys."},
    {"discard", 1, I | F, 0, 0, 0, torcd_command_discard, "transactions", "Discards a transaction."},
    {"echo", 2, C | F, 0, 0, 0, torcd_command_echo, "connection", "Returns the given string."},
    {"exec", 1, I | Q, 0, 0, 0, torcd_command_exec, "transactions", "Executes all commands of a transaction."},
    {"exists", -2, R | F, 1, -1, 1, torcd_command_exists, "generic", "Counts those keys that exist."},
    {"expire", -3, W | F, 1, 1, 1, torcd_command_expire, "generic", "Sets after how many seconds a key expires."},
    {"expireat", -3, W | F, 1, 1, 1, torcd_command_expireat, "generic",
     "Sets the Unix time in seconds at which a key expires."},
    {"expiretime", 2, R | F, 1, 1, 1, torcd_command_expiretime, "generic",
     "Returns the Unix time in seconds at which a key expires."},
    {"flushall", -1, W, 0, 0, 0, torcd_command_flushall, "server", "Removes all keys of all databases."},
    {"flushdb", -1, W, 0, 0, 0, torcd_command_flushdb, "server", "Removes all keys of the current database."},
    {"get", 2, R | F, 1, 1, 1, torcd_command_get, "string", "Returns the value of a key."},
    {"getdel", 2, W | F, 1, 1, 1, torcd_command_getdel, "string", "Returns the value of a key and deletes it."},
    {"getex", -2, W | F, 1, 1, 1, torcd_command_getex, "string",
     "Returns the value of a key and sets when it expires."},
    {"getrange", 4, R, 1, 1, 1, torcd_command_getrange, "string", "Returns a part of a value."},
    {"getset", 3, W | F, 1, 1, 1, torcd_command_getset, "string", "Sets a key and returns its old value."},
    {"hello", -1, C | F | N | X, 0, 0, 0, torcd_command_hello, "connection", "Chooses the protocol."},
    {"incr", 2, W | F, 1, 1, 1, torcd_command_incr, "string", "Adds one to the integer value of a key."},
    {"incrby", 3, W | F, 1, 1, 1, torcd_command_incrby, "string", "Adds to the integer value of a key."},
    {"incrbyfloat", 3, W | F, 1, 1, 1, torcd_command_incrbyfloat, "string",
     "Adds to the floating-point value of a key."},
    {"info", -1, 0, 0, 0, 0, torcd_command_info, "server", "Tells how the server stands."},
    {"keys", 2, R, 0, 0, 0, torcd_command_keys, "generic", "Returns all keys that match a pattern."},
    {"lastsave", 1, F, 0, 0, 0, torcd_command_lastsave, "server", "Returns the Unix time of the last checkpoint."},
    {"latency", -2, A | D, 0, 0, 0, NULL, "server", "Tells of commands that took long."},
    {"latency|doctor", 2, A, 0, 0, 0, torcd_command_latency_doctor, "server", "Comments on the latencies."},
    {"latency|help", 2, A, 0, 0, 0, torcd_command_latency_help, "server", "Describes the subcommands."},
    {"latency|history", 3, A, 0, 0, 0, torcd_command_latency_history, "server", "Returns the latencies of an event."},
    {"latency|latest", 2, A, 0, 0, 0, torcd_command_latency_latest, "server",
     "Returns the last latency of each event."},
    {"latency|reset", -2, A, 0, 0, 0, torcd_command_latency_reset, "server", "Forgets latencies."},
    {"lcs", -3, R, 1, 2, 1, torcd_command_lcs, "string", "Finds the longest common subsequence of two values."},
    {"memory", -2, R | D, 0, 0, 0, NULL, "server", "Tells how memory is used."},
    {"memory|doctor", 2, 0, 0, 0, 0, torcd_command_memory_doctor, "server", "Comments on the use of memory."},
    {"memory|help", 2, 0, 0, 0, 0, torcd_command_memory_help, "server", "Describes the subcommands."},
    {"memory|malloc-stats", 2, 0, 0, 0, 0, torcd_command_memory_malloc_stats, "server", "Returns the store's figures."},
    {"memory|purge", 2, 0, 0, 0, 0, torcd_command_memory_purge, "server", "Frees what can be freed."},
    {"memory|stats", 2, 0, 0, 0, 0, torcd_command_memory_stats, "server", "Returns figures."},
    {"memory|usage", -3, R, 2, 2, 1, torcd_command_memory_usage, "server", "Estimates what a key takes."},
    {"mget", -2, R | F, 1, -1, 1, torcd_command_mget, "string", "Returns the values of keys, at one instant."},
    {"monitor", 1, A, 0, 0, 0, torcd_command_monitor, "server", "Shows every command as it runs."},
    {"move", 3, W | F, 1, 1, 1, torcd_command_move, "generic", "Moves a key to another database."},
    {"mset", -3, W, 1, -1, 2, torcd_command_mset, "string", "Sets keys, at one instant."},
    {"msetnx", -3, W, 1, -1, 2, torcd_command_msetnx, "string", "Sets keys if none of them exists."},
    {"multi", 1, I | F, 0, 0, 0, torcd_command_multi, "transactions", "Starts a transaction."},
    {"object", -2, R | D, 0, 0, 0, NULL, "generic", "Tells how a value is kept."},
    {"object|encoding", 3, R, 2, 2, 1, torcd_command_object_encoding, "generic", "Tells how a value is encoded."},
    {"object|freq", 3, R, 2, 2, 1, torcd_command_object_freq, "generic", "Refused: frequencies are not noted."},
    {"object|help", 2, 0, 0, 0, 0, torcd_command_object_help, "generic", "Describes the subcommands."},
    {"object|idletime", 3, R, 2, 2, 1, torcd_command_object_idletime, "generic", "Returns 0: accesses are not noted."},
    {"object|refcount", 3, R, 2, 2, 1, torcd_command_object_refcount, "generic", "Returns 1 for a key that exists."},
    {"persist", 2, W | F, 1, 1, 1, torcd_command_persist, "generic", "Lets a key not expire."},
    {"pexpire", -3, W | F, 1, 1, 1, torcd_command_pexpire, "generic",
     "Sets after how many milliseconds a key expires."},
    {"pexpireat", -3, W | F, 1, 1, 1, torcd_command_pexpireat, "generic",
     "Sets the Unix time in milliseconds at which a key expires."},
    {"pexpiretime", 2, R | F, 1, 1, 1, torcd_command_pexpiretime, "generic",
     "Returns the Unix time in milliseconds at which a key expires."},
    {"ping", -1, C | F | L, 0, 0, 0, torcd_command_ping, "connection", "Says that the server answers."},
    {"psetex", 4, W, 1, 1, 1, torcd_command_psetex, "string", "Sets a key that expires after milliseconds."},
    {"psubscribe", -2, C | L, 0, 0, 0, torcd_command_psubscribe, "pubsub", "Listens to channels that match patterns."},
    {"pttl", 2, R | F, 1, 1, 1, torcd_command_pttl, "generic", "Returns how many milliseconds a key has left."},
    {"publish", 3, F, 0, 0, 0, torcd_command_publish, "pubsub", "Sends a message to a channel."},
    {"pubsub", -2, D, 0, 0, 0, NULL, "pubsub", "Tells who listens."},
    {"pubsub|channels", -2, 0, 0, 0, 0, torcd_command_pubsub_channels, "pubsub", "Lists channels that have listeners."},
    {"pubsub|help", 2, 0, 0, 0, 0, torcd_command_pubsub_help, "pubsub", "Describes the subcommands."},
    {"pubsub|numpat", 2, 0, 0, 0, 0, torcd_command_pubsub_numpat, "pubsub",
     "Counts the patterns that are listened to."},
    {"pubsub|numsub", -2, 0, 0, 0, 0, torcd_command_pubsub_numsub, "pubsub", "Counts the listeners of channels."},
    {"pubsub|shardchannels", -2, 0, 0, 0, 0, torcd_command_pubsub_shardchannels, "pubsub",
     "Lists shard channels that have listeners."},
    {"pubsub|shardnumsub", -2, 0, 0, 0, 0, torcd_command_pubsub_shardnumsub, "pubsub",
     "Counts the listeners of shard channels."},
    {"punsubscribe", -1, C | L, 0, 0, 0, torcd_command_punsubscribe, "pubsub", "Listens to patterns no more."},
    {"quit", -1, C | I | L | N, 0, 0, 0, torcd_command_quit, "connection", "Closes the connection."},
    {"randomkey", 1, R, 0, 0, 0, torcd_command_randomkey, "generic", "Returns some key."},
    {"range", -3, R, 0, 0, 0, torcd_command_range, "generic", "Returns keys and values in key order."},
    {"rename", 3, W, 1, 2, 1, torcd_command_rename, "generic", "Renames a key."},
    {"renamenx", 3, W | F, 1, 2, 1, torcd_command_renamenx, "generic", "Renames a key if the new name is free."},
    {"reset", 1, C | F | I | L | N, 0, 0, 0, torcd_command_reset, "connection", "Resets the connection."},
    {"save", 1, A | U, 0, 0, 0, torcd_command_save, "server", "Writes a checkpoint."},
    {"scan", -2, R, 0, 0, 0, torcd_command_scan, "generic", "Iterates over the keys."},
    {"select", 2, C | F, 0, 0, 0, torcd_command_select, "connection", "Changes the database."},
    {"set", -3, W, 1, 1, 1, torcd_command_set, "string", "Sets the value of a key."},
    {"setex", 4, W, 1, 1, 1, torcd_command_setex, "string", "Sets a key that expires after seconds."},
    {"setnx", 3, W | F, 1, 1, 1, torcd_command_setnx, "string", "Sets the value of a key that does not exist."},
    {"setrange", 4, W, 1, 1, 1, torcd_command_setrange, "string", "Overwrites a part of a value."},
    {"shutdown", -1, A | U, 0, 0, 0, torcd_command_shutdown, "server", "Ends the server."},
    {"slowlog", -2, A | D, 0, 0, 0, NULL, "server", "Returns the slow log."},
    {"slowlog|get", -2, A, 0, 0, 0, torcd_command_slowlog_get, "server", "Returns the last entries."},
    {"slowlog|help", 2, A, 0, 0, 0, torcd_command_slowlog_help, "server", "Describes the subcommands."},
    {"slowlog|len", 2, A, 0, 0, 0, torcd_command_slowlog_len, "server", "Counts the entries."},
    {"slowlog|reset", 2, A, 0, 0, 0, torcd_command_slowlog_reset, "server", "Forgets all entries."},
    {"spublish", 3, F, 0, 0, 0, torcd_command_spublish, "pubsub", "Sends a message to a shard channel."},
    {"ssubscribe", -2, C | L, 0, 0, 0, torcd_command_ssubscribe, "pubsub", "Listens to shard channels."},
    {"strlen", 2, R | F, 1, 1, 1, torcd_command_strlen, "string", "Returns the length of a value."},
    {"subscribe", -2, C | L, 0, 0, 0, torcd_command_subscribe, "pubsub", "Listens to channels."},
    {"substr", 4, R, 1, 1, 1, torcd_command_getrange, "string", "Returns a part of a value."},
    {"sunsubscribe", -1, C | L, 0, 0, 0, torcd_command_sunsubscribe, "pubsub", "Listens to shard channels no more."},
    {"swapdb", 3, W | F, 0, 0, 0, torcd_command_swapdb, "server", "Swaps two databases."},
    {"time", 1, F, 0, 0, 0, torcd_command_time, "server", "Returns the server's time."},
    {"touch", -2, R | F, 1, -1, 1, torcd_command_exists, "generic", "Counts those keys that exist."},
    {"ttl", 2, R | F, 1, 1, 1, torcd_command_ttl, "generic", "Returns how many seconds a key has left."},
    {"type", 2, R | F, 1, 1, 1, torcd_command_type, "generic", "Tells the type of a value."},
    {"unlink", -2, W | F, 1, -1, 1, torcd_command_del, "generic", "Deletes keys."},
    {"unsubscribe", -1, C | L, 0, 0, 0, torcd_command_unsubscribe, "pubsub", "Listens to channels no more."},
    {"unwatch", 1, F, 0, 0, 0, torcd_command_unwatch, "transactions", "Forgets the watched keys."},
    {"wait", 3, 0, 0, 0, 0, torcd_command_wait, "generic", "Answers 0: there are no replicas."},
    {"waitdurable", -1, Q, 0, 0, 0, torcd_command_waitdurable, "generic",
     "Waits until all that the connection has written is durable."},
    {"watch", -2, I | F, 1, -1, 1, torcd_command_watch, "transactions", "Watches keys for changes."},
};
#undef A
#undef C
#undef D
#undef F
#undef I
#undef L
#undef N
#undef Q
#undef R
#undef U
#undef W
#undef X

#define COMMANDS_COUNT (sizeof commands / sizeof commands[0])
_Static_assert(COMMANDS_COUNT <= TORCD_COMMANDS_MAX, "every command has counters");
_Static_assert(COMMANDS_COUNT * 2 <= TORCD_COMMAND_SLOTS, "the hash table stays sparse");

static unsigned char
lower(char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
}

static unsigned
hash_name(const char *name, size_t size)
{
    unsigned hash = (unsigned)size;

    for (size_t i = 0; i < size; i++)
        hash = hash * 33u ^ lower(name[i]);
    return (hash ^ hash >> 8) & (TORCD_COMMAND_SLOTS - 1);
}

void
torcd_commands_index(struct torcd_server *server)
{
    for (size_t i = 0; i < COMMANDS_COUNT; i++) {
        if (strchr(commands[i].name, '|') != NULL)
            continue;
        assert(strlen(commands[i].name) <= NAME_SIZE_MAX);
        unsigned slot = hash_name(commands[i].name, strlen(commands[i].name));
        while (server->commands[slot] != NULL)
            slot = (slot + 1) & (TORCD_COMMAND_SLOTS - 1);
        server->commands[slot] = &commands[i];
    }
}

const struct torcd_command *
torcd_commands(size_t *count)
{
    *count = COMMANDS_COUNT;
    return commands;
}

size_t
torcd_command_number(const struct torcd_command *command)
{
    return (size_t)(command - commands);
}

const struct torcd_command *
torcd_commands_find(const struct torcd_server *server, struct torc_slice name)
{
    if (name.size == 0 || name.size > NAME_SIZE_MAX)
        return NULL;
    for (unsigned slot = hash_name(name.data, name.size);; slot = (slot + 1) & (TORCD_COMMAND_SLOTS - 1)) {
        const struct torcd_command *command = server->commands[slot];
        if (command == NULL || torcd_is_word(name, command->name))
            return command;
    }
}

const struct torcd_command *
torcd_commands_next_subcommand(const struct torcd_command *container, const struct torcd_command *previous)
{
    const struct torcd_command *next = previous == NULL ? container + 1 : previous + 1;
    size_t size = strlen(container->name);

    if ((container->flags & TORCD_CONTAINER) == 0 || next == commands + COMMANDS_COUNT
        || strncmp(next->name, container->name, size) != 0 || next->name[size] != '|')
        return NULL;
    return next;
}

const struct torcd_command *
torcd_commands_find_subcommand(const struct torcd_command *container, struct torc_slice name)
{
    const struct torcd_command *at = NULL;

    while ((at = torcd_commands_next_subcommand(container, at)) != NULL)
        if (torcd_is_word(name, at->name + strlen(container->name) + 1))
            return at;
    return NULL;
}
