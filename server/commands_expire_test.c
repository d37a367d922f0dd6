/* SPDX-License-Identifier: MIT */
/* Keys that expire, by a clock that stands until a test moves it. */
#include "commands_testing.h"

TestSuite(commands_expire, .init = create, .fini = destroy, .timeout = 30);

static void
advance_ms(uint64_t ms)
{
    atomic_fetch_add_explicit(&clock_ms, ms, memory_order_relaxed);
}

Test(commands_expire, are_absent_when_their_time_has_come)
{
    CONVERSE({"SET a 1 PX 100", OK}, {"PTTL a", ":100\r\n"}, {"GET a", "$1\r\n1\r\n"});
    advance_ms(99);
    CONVERSE({"PTTL a", ":1\r\n"}, {"EXISTS a", ":1\r\n"});
    advance_ms(1);
    CONVERSE({"GET a", NIL}, {"EXISTS a", ":0\r\n"}, {"TTL a", ":-2\r\n"}, {"KEYS *", "*0\r\n"},
             {"RANGE - +", "*0\r\n"}, {"MGET a", "*1\r\n$-1\r\n"}, {"STRLEN a", ":0\r\n"}, {"TYPE a", "+none\r\n"},
             {"RANDOMKEY", NIL}, {"DEL a", ":0\r\n"}, {"SETNX a 2", ":1\r\n"}, {"TTL a", ":-1\r\n"});
}

Test(commands_expire, tell_their_time_in_every_unit)
{
    CONVERSE({"SET a 1 EX 10", OK}, {"TTL a", ":10\r\n"}, {"PTTL a", ":10000\r\n"}, {"EXPIRETIME a", ":1700000010\r\n"},
             {"PEXPIRETIME a", ":1700000010000\r\n"}, {"SET a 1 PXAT 1700000000400", OK}, {"TTL a", ":0\r\n"},
             {"PTTL a", ":400\r\n"}, {"SET a 1 EXAT 1700000005", OK}, {"TTL a", ":5\r\n"}, {"SETEX a 7 v", OK},
             {"TTL a", ":7\r\n"}, {"PSETEX a 1600 v", OK}, {"TTL a", ":2\r\n"}, {"EXPIRE a 3", ":1\r\n"},
             {"PTTL a", ":3000\r\n"}, {"PEXPIRE a 20", ":1\r\n"}, {"PTTL a", ":20\r\n"},
             {"EXPIREAT a 1700000001", ":1\r\n"}, {"PTTL a", ":1000\r\n"}, {"PEXPIREAT a 1700000000007", ":1\r\n"},
             {"PTTL a", ":7\r\n"}, {"PERSIST a", ":1\r\n"}, {"PERSIST a", ":0\r\n"}, {"TTL a", ":-1\r\n"},
             {"EXPIRETIME a", ":-1\r\n"}, {"EXPIRETIME b", ":-2\r\n"});
}

Test(commands_expire, keep_or_lose_their_time_with_each_change)
{
    CONVERSE({"SET n 1 EX 10", OK}, {"INCR n", ":2\r\n"}, {"TTL n", ":10\r\n"}, {"APPEND n 0", ":2\r\n"},
             {"TTL n", ":10\r\n"}, {"SETRANGE n 0 3", ":2\r\n"}, {"TTL n", ":10\r\n"},
             {"INCRBYFLOAT n 1", "$2\r\n31\r\n"}, {"TTL n", ":10\r\n"}, {"SET n 2 KEEPTTL", OK},
             {"TTL n", ":10\r\n"}, {"SET n 2 XX KEEPTTL GET", "$1\r\n2\r\n"}, {"TTL n", ":10\r\n"},
             {"RENAME n m", OK}, {"TTL m", ":10\r\n"}, {"COPY m n", ":1\r\n"},
             {"TTL n", ":10\r\n"}, {"MOVE n 1", ":1\r\n"}, {"SELECT 1", OK}, {"TTL n", ":10\r\n"}, {"SET n 1", OK},
             {"TTL n", ":-1\r\n"}, {"SET n 1 EX 10", OK}, {"GETSET n 2", "$1\r\n1\r\n"}, {"TTL n", ":-1\r\n"});
}

Test(commands_expire, are_deleted_at_once_by_a_time_that_is_past)
{
    CONVERSE({"SET a 1", OK}, {"EXPIRE a 0", ":1\r\n"}, {"EXISTS a", ":0\r\n"}, {"SET a 1", OK},
             {"PEXPIREAT a 1700000000000", ":1\r\n"}, {"EXISTS a", ":0\r\n"}, {"SET a 1", OK},
             {"EXPIRE a -9223372036854775", ":1\r\n"}, {"EXISTS a", ":0\r\n"}, {"SET a 1", OK},
             {"GETEX a PXAT 5", "$1\r\n1\r\n"}, {"EXISTS a", ":0\r\n"}, {"SET a 1 PXAT 5", OK}, {"EXISTS a", ":0\r\n"});
}

Test(commands_expire, are_set_under_conditions)
{
    CONVERSE({"SET a 1", OK}, {"EXPIRE a 10 XX", ":0\r\n"}, {"EXPIRE a 10 GT", ":0\r\n"}, {"EXPIRE a 10 LT", ":1\r\n"},
             {"EXPIRE a 20 NX", ":0\r\n"}, {"EXPIRE a 20 LT", ":0\r\n"}, {"EXPIRE a 20 GT", ":1\r\n"},
             {"EXPIRE a 15 XX LT", ":1\r\n"}, {"TTL a", ":15\r\n"}, {"PERSIST a", ":1\r\n"},
             {"EXPIRE a 9 NX", ":1\r\n"}, {"EXPIRE b 9 NX", ":0\r\n"});
}

/* WATCH notes a version; that its time comes is a change, as any other. */
Test(commands_expire, let_an_exec_fail_that_watched_them)
{
    CONVERSE({"SET a 1 PX 10", OK}, {"WATCH a", OK});
    advance_ms(10);
    CONVERSE({"MULTI", OK}, {"PING", QUEUED}, {"EXEC", "*-1\r\n"}, {"WATCH a", OK}, {"MULTI", OK}, {"GET a", QUEUED},
             {"EXEC", "*1\r\n$-1\r\n"});
}

Test(commands_expire, work_inside_exec)
{
    CONVERSE({"MULTI", OK}, {"SET a 1 EX 5", QUEUED}, {"TTL a", QUEUED}, {"INCR a", QUEUED}, {"PEXPIRE a 70", QUEUED},
             {"PTTL a", QUEUED}, {"GETEX a PERSIST", QUEUED}, {"TTL a", QUEUED},
             {"EXEC", "*7\r\n+OK\r\n:5\r\n:2\r\n:1\r\n:70\r\n$1\r\n2\r\n:-1\r\n"}, {"GET a", "$1\r\n2\r\n"});
}
