# SPDX-License-Identifier: MIT
# The checks of the tree and of what is installed, as tests.
function(torc_check name label)
    add_test(NAME ${label}:${name} COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/checks/${name}.sh ${ARGN})
    set_tests_properties(${label}:${name} PROPERTIES LABELS ${label} TIMEOUT 300)
endfunction()

# A sanitizer changes neither the sources nor what is exported on purpose.
if(NOT torc_sanitized)
    torc_check(layers tree ${PROJECT_SOURCE_DIR})
    torc_check(labels tree ${PROJECT_SOURCE_DIR})
    torc_check(ordering tree ${PROJECT_SOURCE_DIR})
    torc_check(atomics tree ${PROJECT_SOURCE_DIR})
    torc_check(allocation tree ${PROJECT_SOURCE_DIR})
    torc_check(tidy tree ${PROJECT_SOURCE_DIR})
    torc_check(links tree ${PROJECT_SOURCE_DIR})
    torc_check(mutants tree ${PROJECT_SOURCE_DIR})
    torc_check(planted tree ${PROJECT_SOURCE_DIR})
    if(TORC_SHARED)
        torc_check(symbols tree ${PROJECT_SOURCE_DIR} $<TARGET_FILE:torc_shared> $<TARGET_FILE:torc_static>)
        torc_check(install install
            ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR} ${CMAKE_COMMAND} ${CMAKE_GENERATOR} ${CMAKE_C_COMPILER})
    endif()
endif()

# The first C block of the README is a program; it is compiled as a user would, and run.
set(example ${CMAKE_CURRENT_BINARY_DIR}/readme_example.c)
set(extract "/^```c$/ { inside = 1$<SEMICOLON> next } /^```$/ && inside { exit } inside")
add_custom_command(OUTPUT ${example}
    COMMAND awk "${extract}" ${PROJECT_SOURCE_DIR}/README.md > ${example}
    DEPENDS ${PROJECT_SOURCE_DIR}/README.md
    VERBATIM)
add_executable(readme_example ${example})
target_link_libraries(readme_example PRIVATE torc_warnings torc_static)
add_test(NAME docs:readme_example COMMAND readme_example)
set_tests_properties(docs:readme_example PROPERTIES
    LABELS docs TIMEOUT 60 FAIL_REGULAR_EXPRESSION "${torc_failure_banners}")

# The C blocks of the chapter are functions; together they are compiled, and not run.
set(examples ${CMAKE_CURRENT_BINARY_DIR}/chapter_examples.c)
string(CONCAT extract
    "BEGIN { print \"#pragma GCC diagnostic ignored \\\"-Wunused-function\\\"\" } "
    "/^```c$/ { inside = 1$<SEMICOLON> next } /^```$/ { inside = 0 } inside")
add_custom_command(OUTPUT ${examples}
    COMMAND awk "${extract}" ${PROJECT_SOURCE_DIR}/docs/1-mvcc.md > ${examples}
    DEPENDS ${PROJECT_SOURCE_DIR}/docs/1-mvcc.md
    VERBATIM)
add_library(chapter_examples OBJECT ${examples})
target_link_libraries(chapter_examples PRIVATE torc_warnings torc_static)
